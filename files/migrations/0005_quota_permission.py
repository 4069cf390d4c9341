from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('files', '0004_bulk_permissions'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='storedfile',
            options={'default_permissions': ('view', 'delete'), 'managed': False, 'permissions': [('cleanup_storedfile', 'Can clean up now'), ('doctor_storedfile', 'Can examine the bucket'), ('dashboard_storedfile', 'Can see the dashboard'), ('recheck_storedfile', 'Can have files checked again'), ('expire_storedfile', 'Can give up uploads now'), ('quota_storedfile', 'Can set quotas')], 'verbose_name': 'file'},
        ),
    ]
