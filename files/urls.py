from django.urls import path

from . import api, share_views, views

app_name = "files"

urlpatterns = [
    path("files/", views.file_list, name="list"),
    path("files/unfinished", views.unfinished, name="unfinished"),
    path("files/discard", views.discard, name="discard"),
    path("files/confirm", views.confirm, name="confirm"),
    path("files/delete", views.delete_several, name="delete_several"),
    path("files/restore", views.restore, name="restore"),
    path("files/<path:key>/", views.preview, name="preview"),
    path("files/<path:key>/download", views.download, name="download"),
    path("files/<path:key>/row", views.row, name="row"),
    path("files/<path:key>/thumbnail", views.thumbnail, name="thumbnail"),
    path("files/<path:key>/dismiss", views.dismiss, name="dismiss"),
    path("files/<path:key>/rename", views.rename, name="rename"),
    path("files/<path:key>/delete", views.delete, name="delete"),
    path("files/<path:key>/share", share_views.share, name="share"),
    path("files/<path:key>/share/revoke", share_views.revoke, name="share_revoke"),
    path("s/<str:token>", share_views.shared, name="shared"),
    path("s/<str:token>/download", share_views.download, name="shared_download"),
    path("api/openapi.json", api.document, name="openapi"),
    path("api/uploads/sign", api.sign, name="api_sign"),
    path("api/uploads/confirm", api.confirm, name="api_confirm"),
    path("api/uploads/cancel", api.cancel, name="api_cancel"),
    path("api/uploads/diagnose", api.diagnose, name="api_diagnose"),
]
