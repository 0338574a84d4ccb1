"""A Django project in one file, with the settings that Django's deployment checklist asks for behind a proxy.

Served by `gunicorn django_app:application` over TLS by tests/frameworks. The environment says APP_NAME (which of the
two backends this is).
"""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, HttpResponseRedirect, JsonResponse
from django.middleware.csrf import get_token
from django.urls import path, reverse

settings.configure(
    DEBUG=False,
    SECRET_KEY="made up, the same on both backends",
    # The public name alone: a backend's own name in Host must never be what Django goes by.
    ALLOWED_HOSTS=["www.example.com"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[
        f"{__name__}.name_the_backend",
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
    USE_X_FORWARDED_HOST=True,
    SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
    SECURE_SSL_REDIRECT=True,
    SECURE_HSTS_SECONDS=3600,
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    SESSION_COOKIE_SECURE=True,
    # No CSRF_TRUSTED_ORIGINS: the Origin check passes only if scheme and host arrive right.
    CSRF_COOKIE_SECURE=True,
)


def name_the_backend(get_response):
    def respond(request):
        response = get_response(request)
        response["X-App"] = os.environ.get("APP_NAME", "django")
        return response

    return respond


def whoami(request):
    """What the app believes about the request, and every header that reached it."""
    return JsonResponse(
        {
            "root": request.build_absolute_uri("/"),
            "here": request.build_absolute_uri(),
            "scheme": request.scheme,
            "host": request.get_host(),
            # Django itself reads no address but the connection's; apps take this header.
            "remote_addr": request.headers.get("X-Forwarded-For"),
            "headers": list(request.headers.items()),
        }
    )


def account(request):
    """What a login is for: without one it sends the visitor to /login."""
    if "visitor" not in request.session:
        return HttpResponseRedirect(reverse("login"))
    return JsonResponse({"account": "open"})


def login(request):
    """A form with Django's CSRF token; a POST of it logs in."""
    if request.method == "POST":
        request.session["visitor"] = request.POST["visitor"]
        return HttpResponseRedirect(request.build_absolute_uri(reverse("account")))
    field = f'<input type="hidden" name="csrfmiddlewaretoken" value="{get_token(request)}">'
    return HttpResponse(f'<form method="post">{field}<input name="visitor"></form>')


def absolute(request):
    """A redirect by the framework's own idea of where it is."""
    return HttpResponseRedirect(request.build_absolute_uri(reverse("landed")))


def own_address(request):
    """A redirect and a cookie by an app that knows only the address it was called by."""
    own = request.META["HTTP_HOST"]
    response = HttpResponseRedirect(f"https://{own}/landed")
    response.set_cookie("legacy", "1", domain=own.rsplit(":", 1)[0], secure=True)
    return response


def landed(request):
    return HttpResponse("landed")


urlpatterns = [
    path("whoami", whoami),
    path("account", account, name="account"),
    path("login", login, name="login"),
    path("absolute", absolute),
    path("own-address", own_address),
    path("landed", landed, name="landed"),
]

application = get_wsgi_application()
