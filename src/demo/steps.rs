//! What the demo does, one thing after the other: each is asked of the API and looked at from outside.
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use http::{Method, StatusCode};
use serde_json::json;

use crate::cluster::door::random;
use crate::demo::backend::Backend;
use crate::demo::node::{Asked, DemoError, Node};
use crate::demo::uploader::Upload;
use crate::demo::visitor::Visitor;
use crate::demo::{ADDRESS, APP, HOST, HOST_A, LOGIN, asker, expect, put, say, step, text};

/// A site from its creation to a page that was changed, as a visitor sees it.
pub(crate) async fn a_site(node: &Node) -> Result<Visitor, DemoError> {
    let site = json!({"host": HOST, "handler": {"type": "static"}, "account": "asso", "www": "redirect"});
    let site = step(node, &format!("site {HOST}"), Asked::post("/v1/sites", site)).await?;
    expect("the host is kept as A-labels", site["host"] == HOST_A)?;
    expect("the site is served when the API says so", site["served"] == true)?;
    let root = PathBuf::from(text(&site["root"]));
    put(&root, "Hello from the hive.")?;
    say(&format!("  a page in {}", root.display()));

    let ca = node.dir().join("ca.pem");
    let pem = node.body(Asked::get("/v1/certificates/ca")).await?;
    std::fs::write(&ca, &pem).map_err(DemoError::Page)?;
    let visitor = Visitor::new(&pem, HOST_A, root, ca)?.moved_to(&node.ask(Asked::get("/v1/status")).await?)?;
    visitor.sees("/", StatusCode::OK, "Hello from the hive.").await?;
    say(&format!("  {} answers over TLS, verified: Hello from the hive.", visitor.url()));
    let location = visitor.over_http("/a?b").await?;
    expect("HTTP leads to HTTPS", location == format!("{}a?b", visitor.url()))?;
    say("  plain HTTP leads there");

    put(visitor.root(), "The page was changed.")?;
    visitor.sees("/", StatusCode::OK, "changed").await?;
    say("  the page was changed, and is served");
    for (maintenance, status) in [(true, StatusCode::SERVICE_UNAVAILABLE), (false, StatusCode::OK)] {
        let set = json!({"maintenance": maintenance});
        let set = Asked::new(Method::PATCH, &format!("/v1/sites/{HOST_A}"), set, StatusCode::OK);
        step(node, if maintenance { "maintenance on" } else { "maintenance off" }, set).await?;
        visitor.sees("/", status, if maintenance { "maintenance" } else { "changed" }).await?;
    }
    let twice = json!({"host": format!("www.{HOST}"), "handler": {"type": "static"}});
    let refused = node.ask(Asked::new(Method::POST, "/v1/sites", twice, StatusCode::CONFLICT)).await?;
    say(&format!("  a second site with the same name is refused: {}", text(&refused["detail"])));
    Ok(visitor)
}

/// A site that is proxied to a server of ours.
pub(crate) async fn a_backend(node: &Node, visitor: &Visitor) -> Result<Backend, DemoError> {
    let backend = Backend::start().await.map_err(DemoError::Start)?;
    let site = json!({"host": APP, "handler": {"type": "proxy", "upstreams": [backend.url()]}});
    step(node, &format!("site {APP}, proxied to {}", backend.url()), Asked::post("/v1/sites", site)).await?;
    let visitor = visitor.of(APP);
    visitor.sees("/", StatusCode::OK, "A backend behind the hive saw").await?;
    visitor.sees("/", StatusCode::OK, "127.0.0.1").await?;
    say(&format!("  {} is answered by the backend, which learns where the visitor comes from", visitor.url()));
    Ok(backend)
}

/// A page that comes over FTP, seen at once. Gives the password of the FTP user.
pub(crate) async fn an_upload(node: &Node, visitor: &Visitor) -> Result<String, DemoError> {
    let password: String = random().iter().map(|byte| format!("{byte:02x}")).collect();
    let user = json!({"login": LOGIN, "site": HOST, "password": password});
    step(node, &format!("FTP user {LOGIN}"), Asked::post("/v1/ftp-users", user)).await?;
    let upload = Upload {
        server: SocketAddr::from((Ipv4Addr::LOCALHOST, node.port("ftp.listen").await?)),
        name: HOST_A,
        trust: visitor.trust(),
        login: LOGIN,
        password: &password,
        path: "uploaded.html",
        content: "<p>Uploaded over FTP.</p>\n".as_bytes(),
    };
    upload.run().await?;
    visitor.sees("/uploaded.html", StatusCode::OK, "Uploaded over FTP.").await?;
    say("  a page uploaded over FTP with TLS is served");
    Ok(password)
}

/// A zone with a record, and the site's own name in it.
pub(crate) async fn a_zone(node: &Node) -> Result<(), DemoError> {
    let zone = json!({"name": HOST, "account": "asso"});
    step(node, &format!("zone {HOST}"), Asked::post("/v1/zones", zone)).await?;
    let put = |values: &[&str]| json!({"ttl": 300, "values": values});
    for (name, rtype, value) in [("@", "MX", "10 mail"), ("mail", "A", "192.0.2.25")] {
        let path = format!("/v1/zones/{HOST_A}/records/{name}/{rtype}");
        step(node, &format!("record {name} {rtype}"), Asked::new(Method::PUT, &path, put(&[value]), StatusCode::OK))
            .await?;
    }
    let addresses = json!({"addresses": [ADDRESS]});
    let set = Asked::new(Method::PATCH, "/v1/nodes/demo", addresses, StatusCode::OK);
    step(node, &format!("this node is known as {ADDRESS}"), set).await?;
    is_resolved(node).await?;
    say("  over UDP and TCP the site's name leads to the node, and the mail server's to its record");
    Ok(())
}

/// Asks for the names of the zone.
pub(crate) async fn is_resolved(node: &Node) -> Result<(), DemoError> {
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, node.port("dns.listen").await?));
    for tcp in [false, true] {
        for (name, address) in [(HOST_A.to_owned(), ADDRESS), (format!("mail.{HOST_A}"), "192.0.2.25")] {
            let found = asker::addresses(server, &name, tcp).await?;
            expect("DNS answers with the address", found.iter().map(Ipv4Addr::to_string).eq([address]))?;
        }
    }
    Ok(())
}
