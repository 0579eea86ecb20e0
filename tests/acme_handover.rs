//! Certificates that come from elsewhere and go elsewhere: what certbot has, PFX files, and web servers that cannot renew any more.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]
#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Signal, kill_process};
use serde_json::json;
use support::issuer::{ADDRESS, FOR_CERTBOT, Network, OLD_ADDRESS, Pebble, planned, until_planned, wait};
use support::node::{Node, binary};

/// Seconds its certificates last: long enough to be imported, short enough to be waited for.
const SHORT: u64 = 75;

fn ruche(network: &Network, node: &Node, arguments: &[&str]) -> Output {
    let mut ruche = network.command(binary().to_str().unwrap());
    ruche.arg("--socket").arg(node.socket()).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn reserved(node: &Node) -> usize {
    let all = node.get("/v1/events?limit=500").json["items"].as_array().unwrap().clone();
    all.iter().filter(|event| event["action"] == "order.reserve").count()
}

/// The address a name of `wide.net` leads to.
fn leads(node: &Node, name: &str, address: &str) {
    let path = format!("/v1/zones/wide.net/records/{name}/A");
    assert_eq!(node.ask("PUT", &path, Some(json!({"ttl": 60, "values": [address]})), &[]).status, 200);
}

/// The chain somebody is shown, as PEM.
fn shown(network: &Network, address: &str, name: &str) -> String {
    let script = "openssl s_client -connect \"$0:443\" -servername \"$1\" -showcerts </dev/null 2>/dev/null | sed -n '/-----BEGIN/,/-----END/p'";
    let said = network.command("sh").args(["-c", script, address, name]).output().unwrap();
    String::from_utf8(said.stdout).unwrap()
}

/// What stands between the lines of PEM does not count.
fn certificates(pem: &str) -> String {
    let mut within = false;
    let lines = pem.lines().filter(|line| {
        within |= line.starts_with("-----BEGIN");
        let kept = within;
        within &= !line.starts_with("-----END");
        kept
    });
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// The old machine asks for a certificate.
fn certbot(network: &Network, pebble: &Pebble, arguments: &[&str]) -> Output {
    let mut certbot = network.command("certbot");
    certbot.args(arguments).args(["--standalone", "--http-01-address", OLD_ADDRESS, "-n"]);
    for (option, dir) in [("--config-dir", "letsencrypt"), ("--work-dir", "w"), ("--logs-dir", "l")] {
        certbot.arg(option).arg(network.path(dir));
    }
    certbot.env("REQUESTS_CA_BUNDLE", pebble.ca_file()).stdin(Stdio::null()).output().unwrap()
}

/// What certbot has then.
fn certified_by_certbot(network: &Network, pebble: &Pebble) -> PathBuf {
    let server = ["--server", "https://127.0.0.1:14000/dir", "--register-unsafely-without-email", "--agree-tos"];
    let made = certbot(network, pebble, &[&["certonly", "-d", "old.wide.net"][..], &server].concat());
    assert!(made.status.success(), "{}", said(&made));
    network.path("letsencrypt")
}

#[test]
fn what_certbot_has_is_served_as_it_is_and_renewed_here() {
    let network = Network::new();
    let node = network.node(true);
    let pebble = Pebble::lasting(&network, SHORT, FOR_CERTBOT);
    leads(&node, "old", OLD_ADDRESS);
    let tree = certified_by_certbot(&network, &pebble);
    let chain = fs::read_to_string(tree.join("live/old.wide.net/fullchain.pem")).unwrap();
    // As it comes from another machine: its links lead nowhere any more.
    fs::remove_dir_all(tree.join("live/old.wide.net")).unwrap();

    let imported = ruche(&network, &node, &["cert", "import", tree.to_str().unwrap()]);
    assert!(imported.status.success() && said(&imported).contains("Took up old.wide.net"), "{}", said(&imported));
    let told = said(&imported);
    assert!(told.contains("https://127.0.0.1:14000/my-account/") && told.contains("accounturi"), "{told}");
    pebble.prefer(&node, false);
    assert_eq!(node.post("/v1/sites", json!({"host": "old.wide.net", "handler": {"type": "static"}})).status, 201);
    leads(&node, "old", ADDRESS);
    until_planned(&node, "old.wide.net", "good");
    assert_eq!(reserved(&node), 0, "nothing is ordered while it is good");
    assert_eq!(shown(&network, ADDRESS, "old.wide.net"), certificates(&chain));
    // Taken up once more it is the same one.
    assert!(ruche(&network, &node, &["cert", "import", tree.to_str().unwrap()]).status.success());
    assert_eq!(node.all("/v1/certificates").iter().filter(|one| one["issuer"] == "imported").count(), 1);

    wait("it is followed by one of ours", || reserved(&node) > 0 && planned(&node, "old.wide.net")["step"] == "good");
    let ours = shown(&network, ADDRESS, "old.wide.net");
    assert_ne!(ours, certificates(&chain));
    assert_eq!(network.curl(&pebble.root(&network), "https://old.wide.net/").as_deref(), Some("404"));
}

/// Of the key that all issuers know.
fn thumbprint(network: &Network) -> String {
    let url = format!("http://{ADDRESS}/.well-known/acme-challenge/a-token-of-nobody");
    let said = network.command("curl").args(["-s", &url]).output().unwrap();
    String::from_utf8(said.stdout).unwrap().split_once('.').unwrap().1.to_owned()
}

#[test]
fn an_account_of_certbot_becomes_ours_wherever_we_are_killed() {
    let network = Network::new();
    let mut node = network.node(true);
    let pebble = Pebble::new(&network, false, FOR_CERTBOT);
    leads(&node, "old", OLD_ADDRESS);
    let tree = certified_by_certbot(&network, &pebble);
    pebble.prefer(&node, false);
    let import = |node: &Node| ruche(&network, node, &["cert", "import", tree.to_str().unwrap(), "--accounts"]);
    kill_process(pebble.pid(), Signal::STOP).unwrap();
    let imported = import(&node);
    assert!(imported.status.success(), "{}", said(&imported));
    let told = said(&imported);
    let (_, account) = told.split_once("Took over the account ").unwrap();
    let account = account.split_once(' ').unwrap().0.to_owned();
    let issuer = |node: &Node| node.get("/v1/issuers/pebble").json;
    assert!(issuer(&node)["account"] == account.as_str() && issuer(&node)["task"] == "rollover", "{account}");
    // The key to come is written down before the issuer hears of it.
    let announced = |node: &Node| {
        let all = node.get("/v1/events?limit=500").json["items"].as_array().unwrap().clone();
        all.iter().any(|event| event["action"] == "issuer.account")
    };
    wait("it is written down", || announced(&node));
    node.kill();
    let copy = |from: &Path, to: &Path| {
        assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
    };
    let kept = node.path("kept");
    copy(&node.data, &kept);
    kill_process(pebble.pid(), Signal::CONT).unwrap();
    for _ in 0..2 {
        node.start();
        wait("it has our key", || {
            let issuer = issuer(&node);
            issuer["task"].is_null() && issuer["thumbprint"] == thumbprint(&network).as_str()
        });
        assert_eq!(issuer(&node)["account"], account.as_str(), "{}", node.log());
        // The issuer said yes, and what we wrote of it is lost.
        node.kill();
        fs::remove_dir_all(&node.data).unwrap();
        copy(&kept, &node.data);
    }
    node.start();
    assert!(said(&import(&node)).contains("we have one at pebble already"), "{}", said(&import(&node)));
    assert_eq!(node.post("/v1/sites", json!({"host": "old.wide.net", "handler": {"type": "static"}})).status, 201);
    let renewed = certbot(&network, &pebble, &["renew", "--force-renewal", "--no-random-sleep-on-renew"]);
    assert!(!renewed.status.success(), "certbot has the key no more: {}", said(&renewed));
    leads(&node, "old", ADDRESS);
    until_planned(&node, "old.wide.net", "good");
    assert!(ruche(&network, &node, &["cert", "renew", "old.wide.net"]).status.success());
    wait("it is renewed by that account", || reserved(&node) == 1 && planned(&node, "old.wide.net")["step"] == "good");
    assert_eq!(issuer(&node)["account"], account.as_str());
}

#[test]
fn pfx_files_are_taken_up() {
    let node = Node::ready();
    let dir = node.path("pfx");
    fs::create_dir(&dir).unwrap();
    let script = "
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN=ca
        for kind in ec rsa; do
            new='-newkey rsa:2048'; [ $kind = ec ] && new='-newkey ec -pkeyopt ec_paramgen_curve:P-256'
            openssl req $new -nodes -keyout $kind.key -out $kind.csr -subj /CN=$kind
            echo subjectAltName=DNS:$kind.example >ext
            openssl x509 -req -in $kind.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 20 -extfile ext -out $kind.pem
        done
        openssl pkcs12 -export -out new.pfx -inkey ec.key -in ec.pem -certfile ca.pem -passout 'pass:à b'
        openssl pkcs12 -export -out half.pfx -inkey rsa.key -in rsa.pem -certfile ca.pem -passout pass: -certpbe AES-128-CBC -keypbe AES-256-CBC -macalg sha1
        openssl pkcs12 -export -legacy -out old.pfx -inkey ec.key -in ec.pem -passout 'pass:à b'
        openssl pkcs12 -export -out keyless.pfx -nokeys -in ec.pem -passout 'pass:à b'";
    let made = Command::new("sh").args(["-ec", script]).current_dir(&dir).output().unwrap();
    assert!(made.status.success(), "{}", said(&made));
    let import = |file: &str, password: Option<&str>| {
        let mut ruche = Command::new(binary());
        ruche.arg("--socket").arg(node.socket()).args(["cert", "import", "--pfx"]).arg(dir.join(file));
        ruche.args(password.map(|_| "--password-stdin")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = ruche.stderr(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), password.unwrap_or("").as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), said(&output))
    };
    for (file, password, names) in [("new.pfx", Some("à b\n"), "ec.example"), ("half.pfx", None, "rsa.example")] {
        let (code, told) = import(file, password);
        assert!(code == Some(0) && told.contains(&format!("Took up {names}")), "{file}: {told}");
    }
    let held = node.all("/v1/certificates");
    let ec = held.iter().find(|one| one["names"] == json!(["ec.example"])).unwrap();
    // The root is everybody's own.
    assert_eq!(ec["chain"], fs::read_to_string(dir.join("ec.pem")).unwrap());
    let key = node.get(&format!("/v1/certificates/{}/export", ec["id"].as_str().unwrap())).json["key"].clone();
    assert_eq!(key.as_str().unwrap(), fs::read_to_string(dir.join("ec.key")).unwrap());
    for (file, password, reason) in [
        ("new.pfx", Some("wrong"), "the password is another one"),
        ("new.pfx", None, "the password is another one"),
        ("old.pfx", Some("à b"), "openssl pkcs12 -legacy"),
        ("keyless.pfx", Some("à b"), "there is no key in it"),
        ("ec.pem", Some("à b"), "it is damaged, or no PFX"),
    ] {
        let (code, told) = import(file, password);
        assert!(code == Some(1) && told.contains(reason), "{file}: {code:?} {told}");
    }
}

/// An old web server at its own address.
struct Old(Child);

impl Drop for Old {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process_group(
            rustix::process::Pid::from_child(&self.0),
            rustix::process::Signal::TERM,
        );
        let _ = self.0.wait();
    }
}

/// The lines that the manual gives for a server.
fn manual(server: &str) -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/certificates.md")).unwrap();
    let (_, from) = text.split_once(&format!("```{server}\n")).unwrap();
    from.split_once("```").unwrap().0.replace("NODE", ADDRESS)
}

/// A server that only serves what it finds in files, and passes challenges on as the manual says.
fn bridge(server: &str, program: &str, arguments: &[&str], config: &str, reload: &str) {
    let network = Network::new();
    let node = network.node(true);
    let pebble = Pebble::new(&network, false, &[]);
    pebble.prefer(&node, false);
    leads(&node, "old", OLD_ADDRESS);
    let dir = network.path("old");
    fs::create_dir(&dir).unwrap();
    let script =
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout privkey.pem -out fullchain.pem -days 1 -subj /CN=ended";
    assert!(
        Command::new("sh").args(["-ec", script]).current_dir(&dir).stderr(Stdio::null()).status().unwrap().success()
    );
    let at = |text: &str| text.replace("DIR", dir.to_str().unwrap()).replace("OLD", OLD_ADDRESS);
    fs::write(dir.join("conf"), at(config).replace("MANUAL", &manual(server))).unwrap();
    let mut command = network.command(program);
    let arguments: Vec<String> = arguments.iter().map(|argument| at(argument)).collect();
    let log = fs::File::create(dir.join("log")).unwrap();
    command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let _old = Old(std::os::unix::process::CommandExt::process_group(&mut command, 0).spawn().unwrap());
    wait("the old server answers", || shown(&network, OLD_ADDRESS, "old.wide.net").contains("BEGIN"));

    let asked = ruche(&network, &node, &["cert", "issue", "old.wide.net"]);
    assert!(asked.status.success(), "{}", said(&asked));
    until_planned(&node, "old.wide.net", "good");
    let mut export = network.command(binary().to_str().unwrap());
    export.arg("--socket").arg(node.socket()).args(["cert", "export", "old.wide.net", "--follow", "--dir"]).arg(&dir);
    export.args(["--run", &at(reload)]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _export = Old(std::os::unix::process::CommandExt::process_group(&mut export, 0).spawn().unwrap());
    let root = pebble.root(&network);
    let log = || fs::read_to_string(dir.join("log")).unwrap();
    wait(&format!("visitors of the old server see it: {}", log()), || {
        network.curl(&root, "https://old.wide.net/").is_some()
    });
    let first = shown(&network, OLD_ADDRESS, "old.wide.net");
    // And what follows it, within the minute in which it is looked for.
    assert!(ruche(&network, &node, &["cert", "renew", "old.wide.net"]).status.success());
    support::until(90, "they see the next one", || {
        let now = shown(&network, OLD_ADDRESS, "old.wide.net");
        (now != first && network.curl(&root, "https://old.wide.net/").is_some()).then_some(())
    });
}

#[test]
fn an_nginx_that_cannot_renew_is_helped() {
    let config = "pid DIR/pid; error_log stderr; daemon off; events {}
        http { access_log off; client_body_temp_path DIR/t; proxy_temp_path DIR/t; fastcgi_temp_path DIR/t; uwsgi_temp_path DIR/t; scgi_temp_path DIR/t;
        server { listen OLD:80; server_name old.wide.net; MANUAL location / { return 301 https://$host$request_uri; } }
        server { listen OLD:443 ssl; server_name old.wide.net; ssl_certificate DIR/fullchain.pem; ssl_certificate_key DIR/privkey.pem; } }";
    bridge("nginx", "nginx", &["-c", "DIR/conf"], config, "kill -HUP $(cat DIR/pid)");
}

#[test]
fn an_apache_that_cannot_renew_is_helped() {
    let modules = ["mpm_event", "authz_core", "proxy", "proxy_http", "socache_shmcb", "ssl", "alias"];
    let modules =
        modules.map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n")).concat();
    let config = format!(
        "{modules}PidFile DIR/pid\nErrorLog DIR/log\nDefaultRuntimeDir DIR\nServerName old.wide.net\nListen OLD:80\nListen OLD:443\n
        <VirtualHost OLD:80>\nMANUAL\nRedirectMatch permanent \"^/(?!\\.well-known/acme-challenge/)\" https://old.wide.net/\n</VirtualHost>
        <VirtualHost OLD:443>\nSSLEngine on\nSSLCertificateFile DIR/fullchain.pem\nSSLCertificateKeyFile DIR/privkey.pem\n</VirtualHost>\n"
    );
    bridge("apache", "apache2", &["-f", "DIR/conf", "-D", "FOREGROUND"], &config, "kill -USR1 $(cat DIR/pid)");
}

#[test]
fn a_challenge_is_answered_whatever_the_site_says() {
    let sites = support::sites::Sites::ready();
    let auth = json!({"/": {"users": {"ada": {"password": "correct horse"}}}});
    let all = [
        ("a.example", json!({})),
        ("b.example", json!({"handler": {"type": "redirect", "to": "https://new.example"}})),
        ("c.example", json!({"options": {"auth": auth}})),
    ];
    for (host, more) in all {
        sites.create(host, more);
    }
    sites.create("d.example", json!({}));
    sites.set("d.example", json!({"suspended": true}));
    sites.create("e.example", json!({}));
    sites.set("e.example", json!({"maintenance": true}));
    let ask = |host: &str, token: &str| sites.get(&format!("http://{host}/.well-known/acme-challenge/{token}"));
    let mut prints = std::collections::BTreeSet::new();
    // Tokens nobody here ever saw, as they come to a node that did not order; a host that is no site among those who ask.
    for host in ["a.example", "b.example", "c.example", "d.example", "e.example", "nobody.example"] {
        for token in ["abcdefghijklmno-", &"_Z9-".repeat(32)] {
            let got = ask(host, token);
            let (said, print) =
                got.text().split_once('.').map(|(said, print)| (said.to_owned(), print.to_owned())).unwrap();
            assert_eq!((got.status, said.as_str()), (200, token), "{host}");
            prints.insert(print);
        }
        for none in ["abcdefghijklmno", &"a".repeat(129), "abcdefghijklmno.", "abcdefghijklmno%41", "abcdefghijklmnop/"]
        {
            assert_ne!(ask(host, none).status, 200, "{host} {none}");
        }
    }
    // Of one key, as RFC 7638 writes it.
    assert!(prints.len() == 1 && prints.iter().all(|print| print.len() == 43), "{prints:?}");
}
