from django.apps import AppConfig


class UploadkitConfig(AppConfig):
    """The project as an app, for its management commands and its templates."""

    name = "uploadkit"
    verbose_name = "uploadkit"
