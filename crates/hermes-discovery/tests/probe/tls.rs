//! TLS of probes, against a real TLS server with real certificates.

use std::net::SocketAddr;
use std::sync::Arc;

use hermes_core::check::{Check, CheckKind, TlsOptions};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::responder::http;
use crate::world::{World, at_url, http_kind, often};

/// An authority of our own.
fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server whose certificate, of `authority`, is for `name`; it answers every request with 200.
async fn serve(
    authority: &CertifiedIssuer<'static, KeyPair>,
    name: &str,
    expired: bool,
) -> SocketAddr {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if expired {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    }
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await.ok()?;
                let mut bytes = [0; 4096];
                while stream.read(&mut bytes).await.ok()? > 0 {
                    stream.write_all(&http(200, "well")).await.ok()?;
                }
                Some(())
            });
        }
    });
    address
}

fn with_tls(kind: CheckKind, tls: TlsOptions) -> Check {
    Check {
        tls: Some(Box::new(tls)),
        ..often(kind)
    }
}

/// Registers `url` with this check, and says what is found.
async fn verdict(url: &str, check: Check) -> (bool, String) {
    let mut world = World::start().await;
    world.register("a", at_url(url, &[check])).await;
    let (health, evidence) = world.verdict("a").await;
    (health.may_serve(), evidence)
}

#[tokio::test]
async fn what_the_authority_of_the_check_signed_is_healthy_over_https_and_tcp() {
    let ours = authority("ours");
    let address = serve(&ours, "localhost", false).await;
    let url = format!("https://localhost:{}", address.port());
    let trusting = TlsOptions {
        ca: Some(ours.pem()),
        ..TlsOptions::default()
    };
    let (is_healthy, evidence) = verdict(&url, with_tls(http_kind(), trusting.clone())).await;
    assert!(
        is_healthy && evidence.starts_with("GET /health answered 200"),
        "{evidence}"
    );
    let (is_healthy, evidence) = verdict(&url, with_tls(CheckKind::Tcp, trusting)).await;
    assert!(
        is_healthy && evidence.contains(" with TLS in "),
        "{evidence}"
    );
}

#[tokio::test]
async fn a_certificate_is_verified_unless_the_check_says_otherwise() {
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let address = serve(&ours, "web.internal", false).await;
    let url = format!("https://127.0.0.1:{}", address.port());
    let options = |ca: &CertifiedIssuer<'static, KeyPair>, name: Option<&str>| TlsOptions {
        ca: Some(ca.pem()),
        server_name: name.map(Into::into),
        verify: true,
    };
    let said = |tls| verdict(&url, with_tls(http_kind(), tls));

    let untrusted = (
        false,
        "its certificate is of an authority that is not trusted".to_owned(),
    );
    assert_eq!(verdict(&url, often(http_kind())).await, untrusted);
    assert_eq!(
        said(options(&theirs, Some("web.internal"))).await,
        untrusted
    );
    let other_name = (false, "its certificate is for another name".to_owned());
    assert_eq!(said(options(&ours, None)).await, other_name);
    assert!(said(options(&ours, Some("web.internal"))).await.0);
    let unverified = TlsOptions {
        verify: false,
        ..TlsOptions::default()
    };
    assert!(said(unverified).await.0);
}

#[tokio::test]
async fn what_is_wrong_with_the_other_side_is_said() {
    let ours = authority("ours");
    let expired = serve(&ours, "localhost", true).await;
    let trusting = TlsOptions {
        ca: Some(ours.pem()),
        ..TlsOptions::default()
    };
    let url = format!("https://localhost:{}", expired.port());
    let found = verdict(&url, with_tls(http_kind(), trusting.clone())).await;
    assert_eq!(found, (false, "its certificate has expired".to_owned()));

    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", plain.local_addr().unwrap().port());
    let answering = tokio::spawn(async move {
        while let Ok((mut stream, _)) = plain.accept().await {
            stream.write_all(&http(400, "what?")).await.ok();
        }
    });
    let found = verdict(&url, with_tls(http_kind(), trusting)).await;
    assert_eq!(found, (false, "no TLS is spoken there".to_owned()));
    answering.abort();

    let url = format!("https://localhost:{}", expired.port());
    let no_certificate = TlsOptions {
        ca: Some("-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n".into()),
        ..TlsOptions::default()
    };
    let found = verdict(&url, with_tls(http_kind(), no_certificate)).await;
    assert_eq!(
        found,
        (false, "the ca of the check holds no certificate".to_owned())
    );
}
