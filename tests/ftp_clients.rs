//! The FTP clients people have, against a real node: each puts files and gets them back.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::ftp::{PASSWORD, Uploads};

/// Runs a client to its end, within a minute; gives what it printed.
fn run(program: &str, arguments: &[&str], dir: &Path) -> String {
    let mut command = Command::new("timeout");
    command.args(["60", program]).args(arguments).current_dir(dir).stdin(Stdio::null());
    let output = command.env("HOME", dir).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{text}", output.status);
    text
}

/// A tree with small files, a large one, an empty one, and names that are not plain.
fn tree(uploads: &Uploads) -> std::path::PathBuf {
    let tree = uploads.node.path("tree");
    fs::create_dir_all(tree.join("sub/deep")).unwrap();
    fs::create_dir_all(tree.join("été dir")).unwrap();
    for number in 0..60 {
        fs::write(tree.join(format!("sub/f{number}")), format!("file {number}")).unwrap();
    }
    fs::write(tree.join("large"), (0..5_000_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>()).unwrap();
    fs::write(tree.join("empty"), "").unwrap();
    fs::write(tree.join("été dir/a \"b\""), "x").unwrap();
    fs::write(tree.join(".htaccess"), "x").unwrap();
    tree
}

fn same(one: &Path, other: &Path) {
    run("diff", &["-r", one.to_str().unwrap(), other.to_str().unwrap()], Path::new("/"));
}

#[test]
fn lftp_mirrors_both_ways() {
    let uploads = Uploads::ready();
    let tree = tree(&uploads);
    let (port, ca, dir) = (uploads.ftp.port(), uploads.ca(), uploads.node.path("."));
    // The node's certificate is for its name; here it is reached by its address.
    let script = format!(
        "set ssl:ca-file {}; set ssl:check-hostname no; set ftp:ssl-force yes; set ftp:ssl-protect-data yes; set net:max-retries 1; \
         set cmd:fail-exit yes; open -u ada,'{PASSWORD}' -p {port} 127.0.0.1; mirror -R --parallel=4 tree up; mirror --parallel=4 up back; \
         cd up; ls; cls -l large; chmod 600 large; mv large moved; rm moved; mrm -f sub/*; rmdir sub/deep; rmdir sub",
        ca.display()
    );
    let said = run("lftp", &["-c", &script], &dir);
    assert!(said.contains("large"), "{said}");
    same(&tree, &uploads.node.path("back"));
    assert!(!uploads.root.join("up/sub").exists() && uploads.root.join("up/empty").exists());
    uploads.is_well();
}

#[test]
fn curl_uploads_resumes_and_is_refused_without_tls() {
    let uploads = Uploads::ready();
    let tree = tree(&uploads);
    let (ca, user) = (uploads.ca(), format!("ada:{PASSWORD}"));
    let address = format!("test:{}:127.0.0.1", uploads.ftp.port());
    let url = |path: &str| format!("ftp://test:{}/{path}", uploads.ftp.port());
    let curl = |arguments: &[&str]| {
        let mut all =
            vec!["--silent", "--show-error", "--cacert", ca.to_str().unwrap(), "--resolve", &address, "--user", &user];
        all.extend(arguments);
        run("curl", &all, &tree)
    };
    curl(&["--ssl-reqd", "--ftp-create-dirs", "--upload-file", "large", &url("new/dir/large")]);
    curl(&["--ssl-reqd", "--tls-max", "1.2", "--output", "../got", &url("new/dir/large")]);
    same(&tree.join("large"), &uploads.node.path("got"));
    fs::write(uploads.node.path("got"), &fs::read(tree.join("large")).unwrap()[..1_234_567]).unwrap();
    curl(&["--ssl-reqd", "--continue-at", "-", "--output", "../got", &url("new/dir/large")]);
    same(&tree.join("large"), &uploads.node.path("got"));
    assert_eq!(curl(&["--ssl-reqd", "--list-only", &url("new/")]), "dir\n");
    assert_eq!(curl(&["--ssl-reqd", "--range", "0-3", &url("new/dir/large")]).as_bytes(), [0, 0, 0, 0]);
    let plain =
        Command::new("curl").args(["--silent", "--resolve", &address, "--user", &user, &url("")]).output().unwrap();
    assert_eq!(plain.status.code(), Some(67), "curl's code for a refused login");
    uploads.is_well();
}

#[test]
fn pythons_ftplib_does_all_it_can() {
    let uploads = Uploads::ready();
    let script = format!(
        r"
import ftplib, io, ssl
context = ssl.create_default_context(cafile={ca:?})
context.check_hostname = False
ftp = ftplib.FTP_TLS(context=context)
ftp.connect('127.0.0.1', {port}, timeout=30)
ftp.login('ada', {PASSWORD:?})
ftp.prot_p()
assert ftp.pwd() == '/'
assert ftp.mkd('py été') == '/py été'
ftp.cwd('py été')
ftp.storbinary('STOR a', io.BytesIO(b'x' * 1000000))
assert ftp.size('a') == 1000000
got = io.BytesIO()
ftp.retrbinary('RETR a', got.write, rest=999990)
assert got.getvalue() == b'x' * 10
ftp.storbinary('APPE a', io.BytesIO(b'yy'))
assert ftp.size('a') == 1000002
ftp.storlines('STOR t', io.BytesIO(b'a\nb\n'))
lines = []
ftp.retrlines('RETR t', lines.append)
assert lines == ['a', 'b'], lines
assert sorted(ftp.nlst()) == ['a', 't']
facts = dict(ftp.mlsd())
assert facts['a']['size'] == '1000002' and facts['t']['type'] == 'file', facts
ftp.rename('a', 'b')
ftp.delete('b')
ftp.delete('t')
ftp.cwd('..')
ftp.rmd('py été')
assert ftp.quit().startswith('221')
",
        ca = uploads.ca(),
        port = uploads.ftp.port(),
    );
    run("python3", &["-c", &script], &uploads.node.path("."));
    uploads.is_well();
}

#[test]
fn old_clients_without_tls_work_for_who_is_allowed() {
    let uploads = Uploads::ready();
    let tree = tree(&uploads);
    let port = uploads.ftp.port().to_string();
    let login = ["-u", "old", "-p", PASSWORD, "-P", &port];
    run("ncftpput", &[&login[..], &["-m", "-R", "127.0.0.1", "/put", "sub", "large"]].concat(), &tree);
    same(&tree.join("sub"), &uploads.root.join("put/sub"));
    fs::create_dir_all(uploads.node.path("got")).unwrap();
    run("ncftpget", &[&login[..], &["-R", "127.0.0.1", "../got", "/put/sub"]].concat(), &tree);
    same(&tree.join("sub"), &uploads.node.path("got/sub"));
    let (user, password) = (String::from("--ftp-user=old"), format!("--ftp-password={PASSWORD}"));
    let url = format!("ftp://127.0.0.1:{port}/put/");
    run("wget", &["--quiet", "-r", "-nH", "-P", "wgot", &user, &password, &url], &uploads.node.path("."));
    same(&uploads.root.join("put"), &uploads.node.path("wgot/put"));
    uploads.is_well();
}
