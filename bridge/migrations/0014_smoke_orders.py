from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('bridge', '0013_versions'),
    ]

    operations = [
        migrations.AddField(
            model_name='instanceorder',
            name='smoke_at',
            field=models.DateTimeField(blank=True, null=True, verbose_name='smoke chat asked for at'),
        ),
    ]
