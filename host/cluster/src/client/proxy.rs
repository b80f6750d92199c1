//! A *proxy* is the way to an API server that cannot be reached directly: which one, if any, as kubectl chooses it.
//!
//! The kubeconfig's `proxy-url` is used for its cluster whatever the environment says. Without one, `HTTPS_PROXY` (for a server
//! with `http://`: `HTTP_PROXY`) is used unless the server is this machine or `NO_PROXY` excepts it. The rules are those of
//! Go's golang.org/x/net/http/httpproxy, by which kubectl and Helm choose; kube's own look at the proxy's address where the
//! server's is meant, and refuse lists that end with a comma.

use std::fmt;
use std::net::IpAddr;

use http::Uri;
use hyper::body::Incoming;
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::SocksV5;
use hyper_util::rt::TokioExecutor;
use ipnet::IpNet;
use kube::client::{ClientBuilder, ConfigExt};
use kube::{Client, Config};
use percent_encoding::percent_decode_str;
use tower::util::{BoxService, MapErrLayer};
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt};

/// Where a proxy was named, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedBy {
    /// In the kubeconfig.
    Kubeconfig,
    /// In a variable of the environment.
    Variable(&'static str),
}

impl fmt::Display for NamedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NamedBy::Kubeconfig => f.write_str("the kubeconfig's proxy-url"),
            NamedBy::Variable(name) => write!(f, "the variable {name}"),
        }
    }
}

/// A proxy to go through. Shown without its password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    /// Its address, with a scheme of [`SCHEMES`] and a port.
    pub url: Uri,
    /// Who says so.
    pub from: NamedBy,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.url.scheme_str().unwrap_or_default();
        let host = self.url.host().unwrap_or_default();
        write!(f, "{scheme}://{host}:{} of {}", self.url.port_u16().unwrap_or_default(), self.from)
    }
}

/// Schemes of proxies, and the port that each has where none is given.
const SCHEMES: [(&str, u16); 3] = [("http", 80), ("https", 443), ("socks5", 1080)];

/// Why a proxy that is named cannot be used. Never shows more of it than its scheme: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the proxy of {from} cannot be used: {why}")]
pub struct ProxyError {
    /// Who names it.
    pub from: NamedBy,
    /// What is wrong.
    why: String,
}

impl ProxyError {
    /// What to do next.
    pub fn advice(&self) -> String {
        match self.from {
            NamedBy::Kubeconfig => {
                "Correct proxy-url of the kubeconfig's cluster: http://, https:// or socks5://HOST:PORT."
                    .into()
            }
            NamedBy::Variable(name) => format!(
                "Correct {name}: http://, https:// or socks5://HOST:PORT. NO_PROXY=HOST of the API server goes around it."
            ),
        }
    }
}

/// What the environment says of proxies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    https: Option<(&'static str, String)>,
    http: Option<(&'static str, String)>,
    no: String,
}

impl Environment {
    /// This process's.
    pub(crate) fn of_process() -> Environment {
        Environment::read(|name| std::env::var(name).ok())
    }

    /// As given by a function from names of variables; empty ones count as none.
    fn read(variable: impl Fn(&str) -> Option<String>) -> Environment {
        let first = |names: [&'static str; 2]| {
            names
                .into_iter()
                .find_map(|name| variable(name).filter(|value| !value.is_empty()).map(|value| (name, value)))
        };
        Environment {
            https: first(["HTTPS_PROXY", "https_proxy"]),
            http: first(["HTTP_PROXY", "http_proxy"]),
            no: first(["NO_PROXY", "no_proxy"]).map(|(_, value)| value).unwrap_or_default(),
        }
    }
}

/// The proxy to a server, if there is one.
pub(crate) fn choose(
    server: &Uri,
    configured: Option<&str>,
    environment: &Environment,
) -> Result<Option<Proxy>, ProxyError> {
    if let Some(url) = configured.filter(|url| !url.is_empty()) {
        return parse(url, NamedBy::Kubeconfig).map(Some);
    }
    let is_http = server.scheme_str() == Some("http");
    let named = if is_http { &environment.http } else { &environment.https };
    let Some((variable, url)) = named else { return Ok(None) };
    let port = server.port_u16().unwrap_or(if is_http { 80 } else { 443 });
    if is_excepted(server.host().unwrap_or_default(), port, &environment.no) {
        return Ok(None);
    }
    // As in a shell's variable it may be without a scheme.
    let url = url.trim();
    let whole = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    // The name is resolved by the proxy either way.
    let whole = match whole.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("socks5h") => format!("socks5://{rest}"),
        _ => whole,
    };
    parse(&whole, NamedBy::Variable(variable)).map(Some)
}

fn parse(url: &str, from: NamedBy) -> Result<Proxy, ProxyError> {
    let wrong = |why: String| ProxyError { from, why };
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(wrong("it has no scheme; write http://, https:// or socks5:// before it".into()));
    };
    let scheme = scheme.to_ascii_lowercase();
    let Some((_, port)) = SCHEMES.iter().find(|(known, _)| *known == scheme) else {
        let scheme = hookhost_helm::text::quote(&scheme);
        return Err(wrong(format!("its scheme is {scheme}, and http, https and socks5 are known")));
    };
    // Whatever is behind the address says nothing to a proxy.
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let wrong_address = |_| wrong("its address is not HOST:PORT".into());
    let authority: http::uri::Authority = authority.parse().map_err(wrong_address)?;
    if authority.host().is_empty() {
        return Err(wrong("it has no host".into()));
    }
    let text = match authority.port() {
        Some(_) if authority.port_u16().is_none() => return Err(wrong("its port is no number".into())),
        Some(_) => authority.to_string(),
        None => format!("{}:{port}", authority.as_str().trim_end_matches(':')),
    };
    let url = Uri::builder().scheme(scheme.as_str()).authority(text).path_and_query("/").build();
    Ok(Proxy { url: url.map_err(|_| wrong("its address is not HOST:PORT".into()))?, from })
}

/// Whether a server is reached without the environment's proxy: this machine, or what a list in NO_PROXY's form has.
fn is_excepted(host: &str, port: u16, list: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let ip: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || ip.is_some_and(|ip| ip.to_canonical().is_loopback()) {
        return true;
    }
    let entries = list.split(',').map(|entry| entry.trim().to_ascii_lowercase());
    entries.filter(|entry| !entry.is_empty()).any(|entry| entry == "*" || excepts(&entry, &host, ip, port))
}

/// Whether one entry of NO_PROXY is about a server: an address, a network, a domain with all below it, each but the network
/// with a port if need be. What is none of these is about nobody.
fn excepts(entry: &str, host: &str, ip: Option<IpAddr>, port: u16) -> bool {
    if let Ok(network) = entry.parse::<IpNet>() {
        return ip.is_some_and(|ip| network.contains(&ip.to_canonical()));
    }
    let (name, of_port) = split_port(entry);
    if of_port.is_some_and(|of| of.parse() != Ok(port)) {
        return false;
    }
    if let Ok(address) = name.parse::<IpAddr>() {
        return ip.is_some_and(|ip| ip.to_canonical() == address.to_canonical());
    }
    // A name in front of which stands nothing is that domain itself too.
    let below = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(name);
    match below.strip_prefix('.') {
        Some(domain) => {
            !domain.is_empty() && host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
        }
        None => {
            !below.is_empty()
                && (host == below || host.strip_suffix(below).is_some_and(|rest| rest.ends_with('.')))
        }
    }
}

/// An entry's name and its port, if it has one; an address of IPv6 has one only in brackets.
fn split_port(entry: &str) -> (&str, Option<&str>) {
    if let Some(rest) = entry.strip_prefix('[')
        && let Some((address, after)) = rest.split_once(']')
    {
        return (address, after.strip_prefix(':').filter(|port| !port.is_empty()));
    }
    match entry.split_once(':') {
        Some((name, port)) if !port.contains(':') => (name, Some(port).filter(|port| !port.is_empty())),
        _ => (entry, None),
    }
}

impl Proxy {
    /// How to do without it.
    pub(crate) fn way_around(&self) -> &'static str {
        match self.from {
            NamedBy::Kubeconfig => "Without proxy-url in the kubeconfig's cluster it is not used.",
            NamedBy::Variable(_) => "With the API server's host in NO_PROXY it is not used.",
        }
    }

    /// A client of what the configuration says, which names the proxy where the way through it fails.
    pub(crate) fn client(&self, config: Config) -> kube::Result<Client> {
        let proxy = self.clone();
        let named = MapErrLayer::new(move |source: BoxError| -> BoxError {
            // Credentials that cannot be had are not the proxy's fault.
            if source.is::<kube::Error>() {
                source
            } else {
                ThroughProxy { proxy: proxy.clone(), source }.into()
            }
        });
        match self.socks_credentials() {
            Some((user, password)) => {
                let namespace = config.default_namespace.clone();
                let service = named.layer(self.socks(&config, user, password)?);
                Ok(Client::new(service, namespace))
            }
            None => Ok(ClientBuilder::try_from(config)?.with_layer(&named).build()),
        }
    }

    /// User and password for a SOCKS5 proxy, which kube does not pass on. (Those for others it does.)
    fn socks_credentials(&self) -> Option<(String, String)> {
        let credentials = self.url.authority()?.as_str().rsplit_once('@')?.0;
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        (self.url.scheme_str() == Some("socks5")).then(|| (decoded(user), decoded(password)))
    }

    /// What kube makes of a configuration, but with credentials for the proxy.
    fn socks(&self, config: &Config, user: String, password: String) -> kube::Result<SocksService> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        let socks = SocksV5::new(self.url.clone(), http).with_auth(user, password);
        let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(socks)?);
        connector.set_connect_timeout(config.connect_timeout);
        connector.set_read_timeout(config.read_timeout);
        connector.set_write_timeout(config.write_timeout);
        connector.set_reset_reader_on_write(config.reset_reader_on_write);
        let client = legacy::Client::builder(TokioExecutor::new()).build(connector);
        let service = ServiceBuilder::new()
            .layer(config.base_uri_layer())
            .option_layer(config.auth_layer()?)
            .layer(config.extra_headers_layer()?)
            .map_err(BoxError::from)
            .service(client);
        Ok(service.boxed())
    }
}

type SocksService = BoxService<http::Request<kube::client::Body>, http::Response<Incoming>, BoxError>;

/// A way through a proxy that failed: the proxy is named, whatever else the cause says.
#[derive(Debug, thiserror::Error)]
#[error("through the proxy {proxy}")]
pub(crate) struct ThroughProxy {
    /// Which one.
    pub proxy: Proxy,
    /// What happened.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(server: &str, configured: Option<&str>, variables: &[(&str, &str)]) -> String {
        let environment = Environment::read(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        });
        match choose(&server.parse().unwrap(), configured, &environment) {
            Ok(None) => "-".into(),
            Ok(Some(proxy)) => proxy.url.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_variable_of_the_servers_scheme_counts_and_upper_case_goes_first() {
        let both = [("HTTPS_PROXY", "http://s:1"), ("HTTP_PROXY", "http://h:2")];
        assert_eq!(chosen("https://k", None, &both), "http://s:1/");
        assert_eq!(chosen("http://k", None, &both), "http://h:2/");
        assert_eq!(chosen("https://k", None, &both[1..]), "-");
        assert_eq!(chosen("https://k", None, &[("ALL_PROXY", "http://a:1")]), "-");
        let cases = [("https_proxy", "http://low:1"), ("HTTPS_PROXY", "")];
        assert_eq!(chosen("https://k", None, &cases), "http://low:1/");
        let cases = [("https_proxy", "http://low:1"), ("HTTPS_PROXY", "http://up:1")];
        assert_eq!(chosen("https://k", None, &cases), "http://up:1/");
    }

    #[test]
    fn a_proxy_may_lack_its_scheme_and_port_in_a_variable_only() {
        for (written, read) in [
            ("p:3128", "http://p:3128/"),
            ("p", "http://p:80/"),
            ("https://p", "https://p:443/"),
            ("SOCKS5://u:p@p/", "socks5://u:p@p:1080/"),
            ("socks5h://p:1", "socks5://p:1/"),
            ("http://[::1]:3128/x?y", "http://[::1]:3128/"),
        ] {
            assert_eq!(chosen("https://k", None, &[("HTTPS_PROXY", written)]), read, "{written}");
        }
        assert_eq!(chosen("https://k", Some("https://p:8443"), &[]), "https://p:8443/");
        for (written, why) in
            [("p:3128", "no scheme"), ("socks4://p", "\"socks4\""), ("http://", "HOST:PORT")]
        {
            let error = chosen("https://k", Some(written), &[]);
            assert!(error.contains(why) && error.contains("proxy-url"), "{written}: {error}");
        }
        let secret = chosen("https://k", None, &[("https_proxy", "http://user:pass word@p:1")]);
        assert!(secret.contains("variable https_proxy") && !secret.contains("pass"), "{secret}");
    }

    #[test]
    fn the_kubeconfigs_proxy_counts_whatever_the_environment_says() {
        let environment = [("HTTPS_PROXY", "http://e:1"), ("NO_PROXY", "*")];
        assert_eq!(chosen("https://k", Some("http://c:1"), &environment), "http://c:1/");
        assert_eq!(chosen("https://127.0.0.1", Some("http://c:1"), &environment), "http://c:1/");
        assert_eq!(chosen("https://k", Some(""), &environment[..1]), "http://e:1/");
    }

    #[test]
    fn a_proxy_is_shown_without_its_password() {
        let proxy = parse("http://user:secret@p:1", NamedBy::Variable("HTTPS_PROXY")).unwrap();
        assert_eq!(proxy.to_string(), "http://p:1 of the variable HTTPS_PROXY");
        assert!(!format!("{proxy:?}").contains("secret"));
    }

    /// Server, NO_PROXY, whether the proxy is left out: each as Go 1.25's httpproxy has it.
    #[test]
    fn exceptions_are_read_as_go_reads_them() {
        for (server, list, excepted) in [
            ("https://localhost:6443", "", true),
            ("https://127.0.0.1:6443", "", true),
            ("https://127.8.0.1", "", true),
            ("https://[::1]:6443", "", true),
            ("https://k.example.com", "", false),
            ("https://k.example.com", "*", true),
            ("https://k.example.com", " a , * ,b", true),
            ("https://k.example.com", "*.com", true),
            ("https://k.example.com", "example.com", true),
            ("https://k.example.com", ".example.com", true),
            ("https://k.example.com", "*.example.com", true),
            ("https://K.Example.COM", "k.EXAMPLE.com", true),
            ("https://example.com", "example.com", true),
            ("https://example.com", ".example.com", false),
            ("https://example.com", "*.example.com", false),
            ("https://badexample.com", "example.com", false),
            ("https://k.example.com", "ample.com", false),
            ("https://k.example.com", ",, other ,", false),
            ("https://k.example.com:6443", "example.com:6443", true),
            ("https://k.example.com:6443", "example.com:443", false),
            ("https://k.example.com", "example.com:443", true),
            ("https://k.example.com", "example.com:", true),
            ("https://k.example.com", ":443", false),
            ("https://10.1.2.3:6443", "10.0.0.0/8", true),
            ("https://10.1.2.3:6443", "10.9.9.9/8", true),
            ("https://11.1.2.3:6443", "10.0.0.0/8", false),
            ("https://10.1.2.3:6443", "10.1.2.3", true),
            ("https://10.1.2.3:6443", "10.1.2.3:6443", true),
            ("https://10.1.2.3:6443", "10.1.2.3:443", false),
            ("https://10.1.2.3:6443", "10.", false),
            ("https://[fd00::1]:6443", "fd00::/8", true),
            ("https://[fd00::1]:6443", "fd00::1", true),
            ("https://[fd00::1]:6443", "[fd00::1]:6443", true),
            ("https://[fd00::1]:6443", "[fd00::1]:443", false),
            ("https://[fd00::1]:6443", "10.0.0.0/8", false),
            ("https://k.example.com", "10.0.0.0/8,k.example.com,", true),
        ] {
            let variables = [("HTTPS_PROXY", "http://p:1"), ("no_proxy", list)];
            let got = chosen(server, None, &variables) == "-";
            assert_eq!(got, excepted, "{server} with NO_PROXY={list:?}");
        }
    }
}
