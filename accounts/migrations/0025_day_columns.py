from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0024_alert_channels'),
    ]

    # Another form of what is made of the rows: the worker makes it anew.
    operations = [
        migrations.DeleteModel(name='UsageDay'),
        migrations.CreateModel(
            name='UsageDay',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('day', models.DateTimeField(verbose_name='day')),
                ('name', models.CharField(blank=True, max_length=32, verbose_name='column')),
                ('ready', models.BooleanField(default=True, verbose_name='ready')),
                ('data', models.BinaryField(db_default=b'', verbose_name='data')),
            ],
            options={
                'verbose_name': 'day of usage',
                'verbose_name_plural': 'days of usage',
                'default_permissions': (),
                'constraints': [models.UniqueConstraint(fields=('day', 'name'), name='usageday_column')],
            },
        ),
    ]
