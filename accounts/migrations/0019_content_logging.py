import django.db.models.deletion
import gateway_project.lib.secrets.secrets_at_rest
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0018_secrets_at_rest'),
    ]

    operations = [
        migrations.AddField(
            model_name='apikey',
            name='content_from',
            field=models.DateTimeField(blank=True, editable=False, null=True, verbose_name='contents deleted at'),
        ),
        migrations.AddField(
            model_name='apikey',
            name='content_logging',
            field=models.BooleanField(db_default=False, default=False, help_text='What the key sends and receives is kept, encrypted, for as long as CONTENT_RETENTION_DAYS says.', verbose_name='content logging'),
        ),
        migrations.CreateModel(
            name='UsageContent',
            fields=[
                ('request_id', models.CharField(max_length=64, primary_key=True, serialize=False, verbose_name='request')),
                ('started_at', models.DateTimeField(verbose_name='started at')),
                ('content', gateway_project.lib.secrets.secrets_at_rest.SecretField(verbose_name='content')),
                ('api_key', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='contents', to='accounts.apikey', verbose_name='key')),
            ],
            options={
                'verbose_name': 'logged content',
                'verbose_name_plural': 'logged contents',
                'permissions': [('view_content', 'Can view logged contents')],
                'default_permissions': (),
                'indexes': [models.Index(fields=['started_at'], name='content_started')],
            },
        ),
    ]
