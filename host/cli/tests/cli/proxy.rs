//! The way to an API server through proxies, each a real one: HTTP CONNECT, the same within TLS, and SOCKS5.

use std::net::SocketAddr;
use std::process::Output;
use std::sync::{Arc, Mutex};

use base64::prelude::{BASE64_STANDARD, Engine};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::support::Dir;

/// The API server's name, which only the proxy knows an address of.
const SERVER: &str = "https://k8s.example.invalid:6443";

/// A stream of any kind.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// An API server without releases, and a proxy that leads to it whatever it is asked for.
struct World {
    dir: Dir,
    /// The authority that has signed both certificates, as PEM.
    ca: String,
    api: SocketAddr,
    proxy: SocketAddr,
    tls_proxy: SocketAddr,
    /// What the proxies were asked for.
    asked: Arc<Mutex<Vec<String>>>,
    _runtime: Runtime,
}

impl World {
    fn new() -> World {
        let (ca, tls) = certificates();
        let runtime = Runtime::new().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let [api, proxy, tls_proxy] = runtime.block_on(async {
            let mut addresses = Vec::new();
            for kind in 0..3 {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                addresses.push(listener.local_addr().unwrap());
                let (tls, asked, api) = (tls.clone(), asked.clone(), addresses[0]);
                tokio::spawn(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        let (tls, asked) = (tls.clone(), asked.clone());
                        tokio::spawn(async move {
                            match kind {
                                0 => {
                                    // An error is of one who does not trust it.
                                    if let Ok(stream) = tls.accept(stream).await {
                                        serve(stream).await;
                                    }
                                }
                                1 => lead(stream, api, &asked).await,
                                _ => lead(tls.accept(stream).await.unwrap(), api, &asked).await,
                            }
                        });
                    }
                });
            }
            addresses.try_into().unwrap()
        });
        World { dir: Dir::new(), ca, api, proxy, tls_proxy, asked, _runtime: runtime }
    }

    /// Looks for a release, by a kubeconfig with such a server and more of its cluster.
    fn look(&self, server: &str, more: &str, variables: &[(&str, &str)]) -> Output {
        let ca = BASE64_STANDARD.encode(&self.ca);
        self.dir.write(
            "config",
            format!(
                "{{current-context: here, clusters: [{{name: c, cluster: {{server: '{server}', \
                 certificate-authority-data: {ca}, {more}}}}}], users: [{{name: u, user: {{token: abc}}}}], \
                 contexts: [{{name: here, context: {{cluster: c, user: u, namespace: acme}}}}]}}"
            ),
        );
        let mut command = self.dir.command(&["hooks", "shop"]);
        command.env("KUBECONFIG", "config").envs(variables.iter().copied());
        command.output().unwrap()
    }

    /// The same; it must have come to the API server, and the proxy have been asked just this, or not at all.
    #[track_caller]
    fn arrives(&self, server: &str, more: &str, variables: &[(&str, &str)], asked: Option<&str>) {
        let output = self.look(server, more, variables);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("there is no Helm release shop in the namespace acme"), "{more}: {stderr}");
        let seen: Vec<String> = std::mem::take(&mut self.asked.lock().unwrap());
        assert_eq!(
            seen.iter().map(String::as_str).collect::<Vec<_>>(),
            asked.into_iter().collect::<Vec<_>>()
        );
    }
}

/// An authority, and what a server of 127.0.0.1 and of [`SERVER`] shows.
fn certificates() -> (String, TlsAcceptor) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::from_params(&params, &key);
    let names = ["127.0.0.1", "k8s.example.invalid"].map(str::to_owned);
    let server_key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(names).unwrap().signed_by(&server_key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(server_key.serialize_der()).unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![server.der().clone()], key).unwrap();
    (authority.pem(), TlsAcceptor::from(Arc::new(config)))
}

/// Reads to the end of an HTTP request's head.
async fn head(stream: &mut impl Stream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => text.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(text).unwrap()
}

/// Answers one request: there is nothing of what is asked for.
async fn serve(mut stream: impl Stream) {
    let request = head(&mut stream).await;
    assert!(request.starts_with("GET /api/v1/namespaces/acme/secrets"), "{request}");
    let body =
        r#"{"apiVersion":"meta.k8s.io/v1","kind":"PartialObjectMetadataList","metadata":{},"items":[]}"#;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: ";
    stream.write_all(format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
    let _ = stream.shutdown().await;
}

/// Leads one connection to the API server, in the protocol that its first byte begins.
async fn lead(mut stream: impl Stream, api: SocketAddr, asked: &Mutex<Vec<String>>) {
    let Ok(first) = stream.read_u8().await else { return };
    let wish = if first == 5 { socks(&mut stream).await } else { connect(&mut stream).await };
    asked.lock().unwrap().push(wish);
    let mut server = TcpStream::connect(api).await.unwrap();
    let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
}

/// HTTP CONNECT, its first byte read. A wish with credentials is `USER:PASSWORD@HOST:PORT`.
async fn connect(stream: &mut impl Stream) -> String {
    let head = head(stream).await;
    let host = head.strip_prefix("ONNECT ").and_then(|rest| rest.split(' ').next()).unwrap();
    let credentials = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": Basic ")?;
        let value = BASE64_STANDARD.decode(value.trim()).unwrap();
        name.eq_ignore_ascii_case("proxy-authorization").then(|| String::from_utf8(value).unwrap())
    });
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    credentials.map(|credentials| format!("{credentials}@")).unwrap_or_default() + host
}

/// SOCKS5 (RFC 1928, RFC 1929), its first byte read. With credentials where they are offered.
async fn socks(stream: &mut impl Stream) -> String {
    async fn text(stream: &mut impl Stream) -> String {
        let mut bytes = vec![0; stream.read_u8().await.unwrap().into()];
        stream.read_exact(&mut bytes).await.unwrap();
        String::from_utf8(bytes).unwrap()
    }
    let methods = text(stream).await;
    let mut wish = String::new();
    if methods.contains('\u{2}') {
        stream.write_all(&[5, 2]).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), 1);
        let (user, password) = (text(stream).await, text(stream).await);
        wish = format!("{user}:{password}@");
        stream.write_all(&[1, 0]).await.unwrap();
    } else {
        stream.write_all(&[5, 0]).await.unwrap();
    }
    let mut request = [0; 4];
    stream.read_exact(&mut request).await.unwrap();
    assert_eq!(request, [5, 1, 0, 3], "the name itself is sent, for the proxy to resolve");
    wish.push_str(&text(stream).await);
    let port = stream.read_u16().await.unwrap();
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
    format!("{wish}:{port}")
}

const ASKED: Option<&str> = Some("k8s.example.invalid:6443");

#[test]
fn the_kubeconfigs_proxy_leads_to_the_server_by_each_protocol() {
    let world = World::new();
    let (proxy, tls) = (world.proxy, world.tls_proxy);
    let via =
        |url: &str, asked| world.arrives(SERVER, &format!("proxy-url: '{url}'"), &[("NO_PROXY", "*")], asked);
    via(&format!("http://{proxy}"), ASKED);
    via(&format!("https://{tls}"), ASKED);
    via(&format!("socks5://{proxy}"), ASKED);
    let with_user = Some("me:p@ss:w@k8s.example.invalid:6443");
    via(&format!("http://me:p%40ss%3Aw@{proxy}"), with_user);
    via(&format!("socks5://me:p%40ss%3Aw@{proxy}"), with_user);
}

#[test]
fn the_environments_proxy_leads_to_the_server_unless_it_is_excepted() {
    let world = World::new();
    let url = format!("http://{}", world.proxy);
    let bare = world.proxy.to_string();
    let socks = format!("socks5h://{}", world.proxy);
    for variable in [("HTTPS_PROXY", &url), ("https_proxy", &bare), ("HTTPS_PROXY", &socks)] {
        let variable = (variable.0, variable.1.as_str());
        world.arrives(SERVER, "", &[variable, ("NO_PROXY", "other.example,10.0.0.0/8,")], ASKED);
        // This machine is reached directly, whatever the variable says.
        world.arrives(&format!("https://{}", world.api), "", &[variable], None);
    }
    // What is excepted is asked for directly, so that here nobody answers.
    for exception in [("NO_PROXY", "*.example.invalid"), ("no_proxy", "k8s.example.invalid:6443")] {
        let output = world.look(SERVER, "", &[("HTTPS_PROXY", &url), exception]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("no answer from the API server") && !stderr.contains("proxy"), "{stderr}");
        assert_eq!(*world.asked.lock().unwrap(), Vec::<String>::new());
    }
}

#[test]
fn a_proxy_that_does_not_work_is_named_with_what_to_do() {
    let world = World::new();
    let said = |more: &str, variables: &[(&str, &str)], code: i32, words: &[&str]| {
        let output = world.look(SERVER, more, variables);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        words.iter().for_each(|word| assert!(stderr.contains(word), "no {word:?} in {stderr}"));
        assert!(!stderr.contains("s3cret"), "{stderr}");
    };
    let nobody = "http://me:s3cret@127.0.0.1:1";
    let named = "through the proxy http://127.0.0.1:1 of the variable HTTPS_PROXY";
    said("", &[("HTTPS_PROXY", nobody)], 1, &[named, "refused", "NO_PROXY"]);
    said(&format!("proxy-url: '{nobody}'"), &[], 1, &["the kubeconfig's proxy-url", "refused"]);
    let wrong = "socks4://me:s3cret@127.0.0.1:1";
    said("", &[("https_proxy", wrong)], 2, &["\"socks4\"", "Correct https_proxy"]);
    said(&format!("proxy-url: '{wrong}'"), &[], 2, &["\"socks4\"", "Correct proxy-url"]);
    said("proxy-url: '127.0.0.1:1'", &[], 2, &["it has no scheme"]);
    // A certificate that is not trusted is not the address' fault.
    let other = World::new();
    let output = other.look(SERVER, &format!("proxy-url: 'http://{}'", world.proxy), &[]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("correct the cluster's certificate-authority"), "{stderr}");
}
