from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import include, path

from files import vitals

from . import accounts

admin.site.site_header = admin.site.site_title = "uploadkit operations"
admin.site.index_title = "Operations"
admin.site.enable_nav_sidebar = False  # the list of files needs the width, and there is little to navigate

urlpatterns = [
    path("", include("files.urls")),  # first, since what is asked most is found first
    path("", accounts.landing, name="landing"),
    path("login", accounts.sign_in, name="account_login"),
    path("logout", LogoutView.as_view(), name="account_logout"),
    path("accounts/laptop", accounts.laptop_sign_in, name="laptop_sign_in"),
    path("accounts/inactive", accounts.inactive, name="account_inactive"),
    path("accounts/3rdparty/", include("allauth.socialaccount.urls")),
    path("accounts/github/login/", accounts.github_login, name="github_login"),
    path("accounts/github/login/callback/", accounts.github_callback, name="github_callback"),
    path(
        "metrics", vitals.metrics_for_staff, name="metrics"
    ),  # files.vitals answers /healthz and /readyz before there are URLs
    path("admin/", admin.site.urls),
]

handler400 = "files.errors.bad_request"
handler403 = "files.errors.permission_denied"
handler404 = "files.errors.page_not_found"
handler500 = "files.errors.server_error"
