//! What clients and sessions do with a site's files, at its home or through another node: the same either way.
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::ftp::{PASSWORD, Uploads};

/// Runs a client to its end, within a minute; gives what it printed.
pub fn run(program: &str, arguments: &[&str], dir: &Path) -> String {
    let mut command = Command::new("timeout");
    command.args(["60", program]).args(arguments).current_dir(dir).stdin(Stdio::null());
    let output = command.env("HOME", dir).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{text}", output.status);
    text
}

/// A tree with small files, a large one, an empty one, and names that are not plain.
pub fn tree(uploads: &Uploads) -> PathBuf {
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

pub fn same(one: &Path, other: &Path) {
    run("diff", &["-r", one.to_str().unwrap(), other.to_str().unwrap()], Path::new("/"));
}

pub fn lftp_mirrors_both_ways(uploads: &Uploads) {
    let tree = tree(uploads);
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

pub fn curl_uploads_resumes_and_is_refused_without_tls(uploads: &Uploads) {
    let tree = tree(uploads);
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
    fs::write(uploads.root.join("new/dir/large"), &fs::read(tree.join("large")).unwrap()[..3_000_000]).unwrap();
    curl(&["--ssl-reqd", "--continue-at", "-", "--upload-file", "large", &url("new/dir/large")]);
    same(&tree.join("large"), &uploads.root.join("new/dir/large"));
    assert_eq!(curl(&["--ssl-reqd", "--list-only", &url("new/")]), "dir\n");
    assert_eq!(curl(&["--ssl-reqd", "--range", "0-3", &url("new/dir/large")]).as_bytes(), [0, 0, 0, 0]);
    let plain =
        Command::new("curl").args(["--silent", "--resolve", &address, "--user", &user, &url("")]).output().unwrap();
    assert_eq!(plain.status.code(), Some(67), "curl's code for a refused login");
    uploads.is_well();
}

pub fn names_paths_and_facts(uploads: &Uploads) {
    let mut ada = uploads.ada();
    assert_eq!(ada.says("PWD", 257), "257 \"/\" is here\r\n");
    assert_eq!(ada.says("MKD été \"x\"", 257), "257 \"/été \"\"x\"\"\" is there now\r\n");
    ada.says("CWD été \"x\"/./..//été \"x\"", 250);
    assert_eq!(ada.says("PWD", 257), "257 \"/été \"\"x\"\"\" is here\r\n");
    ada.store("STOR a", b"123", 226);
    assert_eq!(fs::read(uploads.root.join("été \"x\"/a")).unwrap(), b"123");
    assert_eq!(ada.says("SIZE a", 213), "213 3\r\n");
    ada.says("TYPE A", 200);
    ada.says("SIZE a", 550);
    ada.says("TYPE I", 200);
    assert_eq!(ada.says("MFMT 20200102030405 a", 213), "213 Modify=20200102030405; /été \"x\"/a\r\n");
    assert_eq!(ada.says("MDTM a", 213), "213 20200102030405\r\n");
    ada.says("SITE CHMOD 7777 a", 200);
    let mode = fs::metadata(uploads.root.join("été \"x\"/a")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o775);
    ada.says("OPTS MLST size;modify;", 200);
    assert!(ada.says("MLST a", 250).contains("\r\n size=3;modify=20200102030405; /été \"x\"/a\r\n"));
    assert!(ada.says("FEAT", 211).contains(" MLST type;size*;modify*;perm;UNIX.mode;\r\n"));
    ada.says("CDUP", 250);
    ada.says("CDUP", 250);
    assert_eq!(ada.says("PWD", 257), "257 \"/\" is here\r\n");
    ada.says("RNFR été \"x\"/a", 350);
    ada.says("NOOP", 200);
    ada.says("RNTO b", 503);
    ada.says("RNFR été \"x\"/a", 350);
    ada.says("RNTO b", 250);
    ada.says("RMD b", 550);
    ada.says("DELE b", 250);
    ada.says("DELE b", 550);
    ada.says("RMD été \"x\"", 250);
    ada.says("CWD été \"x\"", 550);
    assert!(ada.store("STOU", b"unique", 226).starts_with("226 FILE: "));
    for (line, code) in [("RETR .ruche-x", 553), ("CWD a\u{1}b", 501), ("RETR", 501), ("FOO", 500), ("MODE Z", 504)] {
        if line.starts_with("RETR .") {
            ada.port();
        }
        ada.says(line, code);
    }
    uploads.is_well();
}

pub fn lines_of_text_are_converted_both_ways(uploads: &Uploads) {
    let mut ada = uploads.ada();
    ada.says("TYPE A", 200);
    ada.store("STOR t", b"a\r\nb\nc\r", 226);
    assert_eq!(fs::read(uploads.root.join("t")).unwrap(), b"a\nb\nc\r");
    assert_eq!(ada.retrieve("RETR t", 226), b"a\r\nb\r\nc\r");
    ada.says("REST 2", 350);
    ada.port();
    ada.says("RETR t", 554);
    // Larger than any piece.
    let text = "line\n".repeat(300_000);
    ada.store("STOR t", text.replace('\n', "\r\n").as_bytes(), 226);
    assert!(fs::read(uploads.root.join("t")).unwrap() == text.as_bytes());
    assert!(ada.retrieve("RETR t", 226) == text.replace('\n', "\r\n").as_bytes());
}

pub fn an_offset_is_good_for_one_transfer_whatever_becomes_of_it(uploads: &Uploads) {
    let mut ada = uploads.ada();
    ada.store("STOR f", b"0123456789", 226);
    ada.says("REST 4", 350);
    assert_eq!(ada.retrieve("RETR f", 226), b"456789");
    assert_eq!(ada.retrieve("RETR f", 226), b"0123456789");
    for failed in ["RETR none", "LIST none", "STOR none/f"] {
        ada.says("REST 4", 350);
        ada.port();
        ada.says(failed, 550);
        assert_eq!(ada.retrieve("RETR f", 226), b"0123456789", "{failed}");
    }
    ada.says("REST 11", 350);
    ada.port();
    ada.says("RETR f", 554);
    ada.says("REST 10", 350);
    assert_eq!(ada.retrieve("RETR f", 226), b"");
    ada.says("REST 4", 350);
    ada.store("STOR f", b"abc", 226);
    assert_eq!(fs::read(uploads.root.join("f")).unwrap(), b"0123abc");
    ada.store("APPE f", b"!", 226);
    ada.store("APPE new", b"?", 226);
    assert_eq!(fs::read(uploads.root.join("f")).unwrap(), b"0123abc!");
    assert_eq!(fs::read(uploads.root.join("new")).unwrap(), b"?");
    ada.says("REST 9", 350);
    ada.port();
    ada.says("STOR f", 554);
}

pub fn a_transfer_can_be_aborted_and_the_session_goes_on(uploads: &Uploads) {
    let mut ada = uploads.ada();
    fs::write(uploads.root.join("large"), vec![7; 64 << 20]).unwrap();
    for abort in [&b"ABOR\r\n"[..], b"\xff\xf4\xff\xf2ABOR\r\n"] {
        let mut data = ada.data("RETR large");
        data.read_exact(&mut [0; 1000]).unwrap();
        ada.send(abort);
        assert_eq!((ada.reply().0, ada.reply().0), (426, 226));
        let mut rest = Vec::new();
        assert!(data.read_to_end(&mut rest).is_err(), "a part of a file ends like all of it");
    }
    fs::write(uploads.root.join("f"), "old").unwrap();
    let mut data = ada.data("STOR f");
    data.write_all(b"new").unwrap();
    data.flush().unwrap();
    ada.send(b"ABOR\r\n");
    assert_eq!((ada.reply().0, ada.reply().0), (426, 226));
    assert_eq!(fs::read(uploads.root.join("f")).unwrap(), b"old");
    // Nobody comes for the data.
    ada.port();
    ada.says("STOR f", 150);
    ada.send(b"ABOR\r\n");
    assert_eq!((ada.reply().0, ada.reply().0), (426, 226));
    ada.says("ABOR", 226);
    uploads.is_well();
}
