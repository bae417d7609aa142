
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('bridge', '0001_initial'),
    ]

    operations = [
        migrations.AlterField(
            model_name='instance',
            name='generation',
            field=models.PositiveBigIntegerField(help_text='Grows with every start; sessions belong to one start.'),
        ),
    ]
