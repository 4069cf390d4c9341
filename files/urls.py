from django.urls import path

from . import api, views

app_name = "files"

urlpatterns = [
    path("files/", views.file_list, name="list"),
    path("files/unfinished", views.unfinished, name="unfinished"),
    path("files/discard", views.discard, name="discard"),
    path("files/confirm", views.confirm, name="confirm"),
    path("files/<path:key>/download", views.download, name="download"),
    path("files/<path:key>/delete", views.delete, name="delete"),
    path("api/openapi.json", api.document, name="openapi"),
    path("api/uploads/sign", api.sign, name="api_sign"),
    path("api/uploads/confirm", api.confirm, name="api_confirm"),
    path("api/uploads/cancel", api.cancel, name="api_cancel"),
    path("api/uploads/diagnose", api.diagnose, name="api_diagnose"),
]
