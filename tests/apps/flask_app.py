"""A Flask app as people run it behind a proxy: Werkzeug's ProxyFix and a login by Flask-Dance.

Served by `gunicorn flask_app:app` over TLS by tests/frameworks. The environment says APP_NAME (which of the two
backends this is) and PROVIDER (the made-up OAuth provider's address).
"""

import os

from flask import Flask, jsonify, redirect, request, url_for
from flask_dance.consumer import OAuth2ConsumerBlueprint
from werkzeug.middleware.proxy_fix import ProxyFix

PROVIDER = os.environ.get("PROVIDER", "https://provider.invalid")

app = Flask(__name__)
app.config.update(
    SECRET_KEY="made up, the same on both backends",
    SESSION_COOKIE_SECURE=True,
    SESSION_COOKIE_SAMESITE="Lax",
)
# One hop, Crossfade, whatever stands in front of it: it hands on one value of each.
app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_port=1)

made_up = OAuth2ConsumerBlueprint(
    "made_up",
    __name__,
    client_id="crossfade-tests",
    client_secret="made up",
    authorization_url=f"{PROVIDER}/authorize",
    token_url=f"{PROVIDER}/token",
    redirect_to="account",
)
app.register_blueprint(made_up, url_prefix="/login")


@app.after_request
def name_the_backend(response):
    response.headers["X-App"] = os.environ.get("APP_NAME", "flask")
    return response


@app.get("/whoami")
def whoami():
    """What the app believes about the request, and every header as it came (ProxyFix lays Host over)."""
    came = {**dict(request.headers.items()), "Host": request.environ["werkzeug.proxy_fix.orig"]["HTTP_HOST"]}
    return jsonify(
        root=request.url_root,
        here=url_for("whoami", _external=True),
        scheme=request.scheme,
        host=request.host,
        remote_addr=request.remote_addr,
        headers=list(came.items()),
    )


@app.get("/account")
def account():
    """What a login is for: without one it sends the visitor to /login/made_up."""
    if not made_up.session.authorized:
        return redirect(url_for("made_up.login"))
    return jsonify(account="open")


@app.get("/absolute")
def absolute():
    """A redirect by the framework's own idea of where it is."""
    return redirect(url_for("landed", _external=True))


@app.get("/own-address")
def own_address():
    """A redirect and a cookie by an app that knows only the address it was called by."""
    own = request.environ["werkzeug.proxy_fix.orig"]["HTTP_HOST"]
    response = redirect(f"https://{own}/landed")
    response.set_cookie("legacy", "1", domain=own.rsplit(":", 1)[0], secure=True)
    return response


@app.get("/landed")
def landed():
    return "landed"
