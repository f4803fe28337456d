"""How gunicorn serves the registry: threads in a few processes, and HTTP/2 where there is TLS."""

from django.conf import settings

wsgi_app = "registry_site.wsgi:application"
bind = f"{settings.BIND_HOST}:{settings.BIND_PORT}"
workers = settings.WORKERS
worker_class = "gthread"
threads = settings.THREADS
proc_name = "entrepot"

# A kept-alive HTTP/1.1 connection costs nothing while it is idle; an HTTP/2 one keeps its thread.
keepalive = 5
timeout = 60
graceful_timeout = 30
# Long enough for any token; a longer header is refused before the application sees it.
limit_request_field_size = 16_380
# Nobody in front of this server is trusted to say who or how the client is.
forwarded_allow_ips = ""
control_socket_disable = True

if settings.TLS_CERT:
    certfile, keyfile = str(settings.TLS_CERT), str(settings.TLS_KEY)
    http_protocols = "h2,h1"
