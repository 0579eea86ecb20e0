//! The FTP clients people have, against a real node: each puts files and gets them back.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::fs;

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::ftp::{PASSWORD, Uploads};
use support::scripts::{self, run, same, tree};

#[test]
fn lftp_mirrors_both_ways() {
    scripts::lftp_mirrors_both_ways(&Uploads::ready());
}

#[test]
fn curl_uploads_resumes_and_is_refused_without_tls() {
    scripts::curl_uploads_resumes_and_is_refused_without_tls(&Uploads::ready());
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
