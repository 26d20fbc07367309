"""A proxy with a CA of its own, as a company's network has one: it ends TLS for real host names and hands what comes
to one place on loopback, byte for byte. Beside it, the metadata service of a node."""

import datetime
import socket
import socketserver
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

DAY = datetime.timedelta(days=1)
PEM = serialization.Encoding.PEM


def certificate(name, key, issuer, signer, *extensions):
    now = datetime.datetime.now(datetime.timezone.utc)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer or subject)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - DAY).not_valid_after(now + DAY)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(signer, hashes.SHA256())


class Authority:
    def __init__(self, folder):
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.ca = certificate("relay", self.key, None, self.key, x509.BasicConstraints(ca=True, path_length=None))
        self.file = folder / "ca.crt"
        self.file.write_bytes(self.ca.public_bytes(PEM))

    def context(self, host):
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = certificate(host, key, self.ca.subject, self.key, x509.SubjectAlternativeName([x509.DNSName(host)]))
        private = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        file = self.folder / f"{host}.pem"
        file.write_bytes(private + leaf.public_bytes(PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    finally:
        # Whoever still reads there hears the end.
        try:
            sink.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Relay(socketserver.ThreadingTCPServer):
    """Listens as an HTTP proxy; all that it is asked for goes to `port`."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, authority, port):
        self.authority, self.port, self.hosts = authority, port, []
        super().__init__(("127.0.0.1", 0), Tunnel)


class Tunnel(socketserver.StreamRequestHandler):
    rbufsize = 0

    def handle(self):
        method, place, _ = self.rfile.readline().decode().split(" ", 2)
        while self.rfile.readline().strip():
            pass
        host = place.removesuffix(":443")
        if method != "CONNECT" or host == place:
            return
        self.server.hosts.append(host)
        self.wfile.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        try:
            inner = self.server.authority.context(host).wrap_socket(self.connection, server_side=True)
        except (ssl.SSLError, OSError):
            return
        with inner, socket.create_connection(("127.0.0.1", self.server.port)) as beyond:
            threading.Thread(target=pump, args=(beyond, inner), daemon=True).start()
            pump(inner, beyond)


class Metadata(BaseHTTPRequestHandler):
    """IMDSv2, which tells the credential that the server holds."""

    def answer(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self):
        known = self.path == "/latest/api/token" and "x-aws-ec2-metadata-token-ttl-seconds" in self.headers
        self.answer(200 if known else 404, "a-token")

    def do_GET(self):
        roles = "/latest/meta-data/iam/security-credentials/"
        if self.headers.get("x-aws-ec2-metadata-token") != "a-token":
            return self.answer(401, "")
        said = {roles: "operator", f"{roles}operator": self.server.credential}.get(self.path)
        self.answer(404 if said is None else 200, said or "")

    def log_message(self, *_):
        pass


def metadata(credential):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    server.credential = credential
    return server
