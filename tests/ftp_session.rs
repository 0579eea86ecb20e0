//! One FTP session after the other, byte by byte: what RFC 959 and its followers promise, and what they do not allow.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType};
use serde_json::json;

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::faults::SmallDisk;
use support::ftp::{Client, HOST, PASSWORD, Uploads, Wire, plain};
use support::node::Node;
use support::scripts;
use support::until;

#[test]
fn names_paths_and_facts() {
    scripts::names_paths_and_facts(&Uploads::ready());
}

#[test]
fn lines_of_text_are_converted_both_ways() {
    scripts::lines_of_text_are_converted_both_ways(&Uploads::ready());
}

#[test]
fn an_offset_is_good_for_one_transfer_whatever_becomes_of_it() {
    scripts::an_offset_is_good_for_one_transfer_whatever_becomes_of_it(&Uploads::ready());
}

#[test]
fn what_is_sent_ahead_is_answered_in_its_order() {
    let uploads = Uploads::ready();
    let mut ada = uploads.ada();
    fs::write(uploads.root.join("f"), vec![7; 3_000_000]).unwrap();
    let stream = plain(ada.port());
    ada.send(b"RETR f\r\nPWD\r\nCWD none\r\nNOOP\r\nSYST\r\nSIZE f\r\n");
    assert_eq!(ada.reply().0, 150);
    let mut data = ada.protect(stream);
    let mut bytes = Vec::new();
    data.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), 3_000_000);
    let codes: Vec<u16> = (0..6).map(|_| ada.reply().0).collect();
    assert_eq!(codes, [226, 257, 550, 200, 215, 213]);
    // One byte after the other, with telnet's own between them.
    for byte in b"\xff\xfb\x01NO\xff\xf1OP\r\n" {
        ada.send(&[*byte]);
    }
    assert_eq!(ada.reply().0, 200);
}

#[test]
fn a_transfer_can_be_aborted_and_the_session_goes_on() {
    scripts::a_transfer_can_be_aborted_and_the_session_goes_on(&Uploads::ready());
}

#[test]
fn without_tls_nobody_says_a_password_unless_an_admin_allowed_it() {
    let uploads = Uploads::ready();
    let mut client = uploads.connect();
    for login in ["ada", "nobody"] {
        assert!(client.says(&format!("USER {login}"), 530).contains("AUTH TLS"));
    }
    client.says("PASS x", 503);
    client.says("LIST", 530);
    client.says("PBSZ 0", 503);
    client.says("PROT P", 503);
    client.says("AUTH KERBEROS", 504);
    client.secure();
    client.says("AUTH TLS", 503);
    client.logs_in("ada");
    client.says("USER old", 530);
    client.port();
    assert!(client.says("LIST", 521).contains("PROT P"));
    client.says("CCC", 502);
    let mut old = uploads.old();
    old.store("STOR f", b"plain", 226);
    assert_eq!(old.retrieve("RETR f", 226), b"plain");
    uploads.set("/v1/ftp-users/old", json!({"allow_plain": false}));
    uploads.connect().says("USER old", 530);
    // What is said in the clear after AUTH is not heard as if it were protected.
    let mut injected = uploads.connect();
    injected.send(b"AUTH TLS\r\nUSER ada\r\n");
    assert_eq!(injected.reply().0, 421);
    assert!(injected.try_reply().is_err());
}

#[test]
fn lines_have_a_bound_before_and_after_tls() {
    let uploads = Uploads::ready();
    for secure in [false, true] {
        let mut client = uploads.connect();
        if secure {
            client.secure();
        }
        let flood = vec![b'x'; 1 << 20];
        let sent = (0..64).take_while(|_| client.try_send(&flood).is_ok()).count();
        assert!(sent < 64, "64 MiB of one line were taken");
        if let Ok((code, text)) = client.try_reply() {
            assert_eq!(code, 421, "{text}");
        }
    }
    uploads.is_well();
}

#[test]
fn nobody_else_is_connected_to_or_served() {
    let uploads = Uploads::ready();
    let mut old = uploads.old();
    assert!(old.says("PORT 127,0,0,1,0,22", 502).contains("EPSV"));
    old.says("EPRT |1|127.0.0.1|22|", 502);
    fs::write(uploads.root.join("f"), "mine").unwrap();
    let port = old.port();
    let thief = connect_from([127, 0, 0, 2], port);
    old.says("RETR f", 150);
    let mut heard = Vec::new();
    let mut thief = thief;
    let _ = thief.read_to_end(&mut heard);
    assert_eq!(heard, b"");
    let mut data = plain(port);
    data.read_to_end(&mut heard).unwrap();
    assert_eq!((old.reply().0, heard), (226, b"mine".to_vec()));
    old.says("EPSV ALL", 200);
    old.says("PASV", 503);
    old.says("EPSV 2", 522);
    // One connection for each transfer.
    old.says("RETR f", 425);
    assert_eq!(uploads.metric("ruche_ftp_strange_data_connections_total"), 1);
}

fn connect_from(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from((from, 0))).unwrap();
    rustix::net::connect(&socket, &to).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

#[test]
fn what_is_not_whole_is_not_kept() {
    let uploads = Uploads::ready();
    let mut ada = uploads.ada();
    fs::write(uploads.root.join("f"), "old").unwrap();
    // Bytes without TLS on a protected port.
    let mut stream = plain(ada.port());
    ada.says("STOR f", 150);
    stream.write_all(b"in the clear").unwrap();
    assert_eq!(ada.reply().0, 425);
    drop(stream);
    // An end that TLS does not know of.
    let mut data = ada.data("STOR f");
    data.write_all(b"cut").unwrap();
    data.flush().unwrap();
    drop(data);
    assert_eq!(ada.reply().0, 426);
    ada.says("NOOP", 200);
    // A client that is gone: its data ends like a whole file.
    let mut old = uploads.old();
    let mut data = old.data("STOR f");
    data.write_all(b"cut").unwrap();
    drop(old);
    drop(data);
    // A reset.
    let mut old = uploads.old();
    let Wire::Plain(mut data) = old.data("STOR f") else { panic!("it is plain") };
    data.write_all(b"cut").unwrap();
    rustix::net::sockopt::set_socket_linger(&data, Some(Duration::ZERO)).unwrap();
    drop(data);
    assert_eq!(old.reply().0, 426);
    until(30, "every upload is given up", || {
        let left = fs::read_dir(uploads.root.with_file_name("incoming")).unwrap().count();
        (left == 0).then_some(())
    });
    assert_eq!(fs::read(uploads.root.join("f")).unwrap(), b"old");
    uploads.is_well();
}

#[test]
fn no_path_leads_out_and_nothing_waits_for_a_fifo() {
    let uploads = Uploads::ready();
    uploads.user("inner", json!({"dir": "up/inner"}));
    let mut ada = uploads.ada();
    let outside = uploads.root.with_file_name("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    symlink("../outside", uploads.root.join("out")).unwrap();
    symlink("/etc/passwd", uploads.root.join("passwd")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, uploads.root.join("fifo"), rustix::fs::Mode::RWXU).unwrap();
    for path in ["out/secret", "passwd", "fifo", "../outside/secret", "/../../outside/secret"] {
        for command in ["RETR", "SIZE", "MDTM", "MLST"] {
            if command == "RETR" {
                ada.port();
            }
            if path == "fifo" && matches!(command, "MDTM" | "MLST") {
                continue;
            }
            ada.says(&format!("{command} {path}"), 550);
        }
    }
    for line in ["CWD out", "MKD out/x", "DELE out/secret", "RMD out/x", "RNFR out/secret", "SITE CHMOD 644 passwd"] {
        ada.says(line, 550);
    }
    ada.port();
    ada.says("STOR out/x", 550);
    let listing = String::from_utf8(ada.retrieve("LIST", 226)).unwrap();
    assert!(listing.contains(" out -> ../outside\r\n") && listing.contains(" fifo\r\n"), "{listing}");
    ada.says("DELE passwd", 250);
    // The root of a login is one of the site's directories, and its jail.
    let mut inner = uploads.connect();
    inner.secure();
    inner.logs_in("inner");
    inner.says("PROT P", 200);
    inner.says("CWD ..", 250);
    inner.store("STOR page", b"inner", 226);
    assert_eq!(fs::read(uploads.root.join("up/inner/page")).unwrap(), b"inner");
    symlink("../../page", uploads.root.join("up/inner/link")).unwrap();
    fs::write(uploads.root.join("page"), "the site's").unwrap();
    inner.says("SIZE link", 550);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    uploads.is_well();
}

#[test]
fn quotas_are_kept_while_writing() {
    let uploads = Uploads::ready();
    uploads.user("small", json!({"dir": "small", "quota": 1000}));
    let mut small = uploads.connect();
    small.secure();
    small.logs_in("small");
    small.says("PROT P", 200);
    small.store("STOR a", &[1; 900], 226);
    assert!(small.store("STOR b", &[1; 101], 552).contains("1000"));
    small.store("STOR b", &[1; 100], 226);
    small.says("DELE a", 250);
    small.store("STOR c", &[1; 900], 226);
    uploads.set(&format!("/v1/sites/{HOST}"), json!({"quota": 1500}));
    let mut ada = uploads.ada();
    ada.store("STOR d", &[1; 500], 226);
    ada.store("STOR e", &[1; 1], 552);
    ada.store("STOR large", &vec![1; 4 << 20], 552);
    uploads.set("/v1/ftp-users/small", json!({"quota": null}));
    small.says("DELE c", 250);
    ada.store("STOR e", &[1; 900], 226);
    assert_eq!(fs::read_dir(uploads.root.with_file_name("incoming")).unwrap().count(), 0);
}

#[test]
fn a_full_disk_is_told_and_the_old_file_stays() {
    let dir = tempfile::Builder::new().prefix("ruche-test-").tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&dir.path().join("disk"), 64 << 10) else { return };
    let uploads = Uploads::on(Node::with_data(dir, disk.path().join("data")));
    let mut ada = uploads.ada();
    ada.store("STOR f", b"old", 226);
    disk.fill();
    ada.store("STOR f", &vec![1; 1 << 20], 452);
    assert_eq!(fs::read(uploads.root.join("f")).unwrap(), b"old");
    disk.free();
    ada.store("STOR f", b"new", 226);
    assert_eq!(fs::read(uploads.root.join("f")).unwrap(), b"new");
}

#[test]
fn what_an_admin_takes_away_is_gone_at_the_next_command() {
    let uploads = Uploads::ready();
    let refused = |change: fn(&Uploads), back: fn(&Uploads)| {
        let mut ada = uploads.ada();
        change(&uploads);
        assert!(ada.says("MLST /", 421).starts_with("421 Goodbye: "));
        assert!(ada.try_reply().is_err());
        let mut again = uploads.connect();
        again.secure();
        again.says("USER ada", 331);
        again.says(&format!("PASS {PASSWORD}"), 530);
        back(&uploads);
        uploads.ada();
    };
    refused(
        |uploads| uploads.set("/v1/ftp-users/ada", json!({"disabled": true})),
        |uploads| uploads.set("/v1/ftp-users/ada", json!({"disabled": false})),
    );
    refused(
        |uploads| uploads.set(&format!("/v1/sites/{HOST}"), json!({"suspended": true})),
        |uploads| uploads.set(&format!("/v1/sites/{HOST}"), json!({"suspended": false})),
    );
}

#[test]
fn an_ipv6_client_is_served_by_epsv() {
    if TcpListener::bind("[::1]:0").is_err() {
        println!("SKIPPED: this machine has no IPv6");
        return;
    }
    let uploads = Uploads::listening(Node::new(), &["[::1]:0"]);
    let mut ada = uploads.ada();
    assert!(uploads.ftp.is_ipv6());
    ada.store("STOR f", b"six", 226);
    assert_eq!(ada.retrieve("RETR f", 226), b"six");
    assert!(ada.says("PASV", 522).contains("EPSV"));
    ada.says("EPSV 1", 522);
    ada.says("EPSV 2", 229);
    uploads.is_well();
}

#[test]
fn a_port_that_is_taken_is_said_and_had_when_it_is_free() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut uploads = Uploads::listening(Node::new(), &[&address.to_string(), "127.0.0.1:0"]);
    assert_ne!(uploads.ftp, address);
    uploads.is_well();
    let name = format!("ftp.listen {address}");
    let entry = |uploads: &Uploads| {
        let status = uploads.node.get("/v1/status").done().json;
        status["board"].as_array().unwrap().iter().find(|entry| entry["name"] == *name).cloned()
    };
    let said = entry(&uploads).expect("the board has an entry for it");
    assert!(said["health"] == "yellow" && said["text"].as_str().unwrap().contains("address in use"), "{said}");
    drop(taken);
    until(30, "the port is listened on", || TcpStream::connect(address).ok());
    assert_eq!(entry(&uploads), None);
    uploads.ftp = address;
    uploads.is_well();
}

/// A client whose end of TLS waits, as Nagle's algorithm has it, for the word that its handshake came.
#[test]
fn a_protected_upload_is_not_held_up_by_a_late_acknowledgement() {
    let uploads = Uploads::ready();
    let mut ada = uploads.ada();
    let upload = |_| {
        let begun = Instant::now();
        let stream = plain(ada.port());
        stream.set_nodelay(false).unwrap();
        ada.says("STOR f", 150);
        let mut data = ada.protect(stream);
        data.write_all(b"small").unwrap();
        data.end();
        assert_eq!(ada.reply().0, 226);
        begun.elapsed()
    };
    // Each of them would wait for 40 ms; a busy machine holds up some.
    let fastest = (0..20).map(upload).min().unwrap();
    assert!(fastest < Duration::from_millis(35), "{fastest:?}");
}

#[test]
fn guessing_passwords_becomes_slow_for_who_guesses() {
    let uploads = Uploads::ready();
    let mut slowed = 0;
    for round in 0..4 {
        let mut client = uploads.connect();
        client.secure();
        for attempt in 0..3 {
            let login = if round % 2 == 0 { "ada".to_owned() } else { format!("unknown{attempt}") };
            client.says(&format!("USER {login}"), 331);
            client.send(b"PASS wrong password\r\n");
            let (code, text) = client.reply();
            assert_eq!(code, if attempt == 2 { 421 } else { 530 }, "{text}");
            slowed += u32::from(text.contains("Too many failed logins: try again in"));
        }
        assert!(client.try_reply().is_err());
    }
    assert!(slowed > 2, "{slowed}");
    assert!(uploads.metric("ruche_ftp_logins_total{result=\"failed\"}") < 10);
    // The right password has to wait as well, and then it is right.
    let mut client = uploads.connect();
    client.secure();
    let right = format!("PASS {PASSWORD}\r\n");
    until(60, "the pause is over", || {
        client.says("USER ada", 331);
        client.send(right.as_bytes());
        let (code, _) = client.reply();
        if code == 421 {
            client = uploads.connect();
            client.secure();
        }
        (code == 230).then_some(())
    });
}

#[test]
fn whoever_says_nothing_keeps_nobody_out() {
    let uploads = Uploads::ready();
    let mut idle: Vec<Client<'_>> = (0..700).map(|_| uploads.connect()).collect();
    let started = Instant::now();
    uploads.is_well();
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(idle[0].reply().0, 421);
    idle[699].says("NOOP", 200);
}

#[test]
fn a_stop_lets_transfers_end_and_sends_the_others_away() {
    let mut uploads = Uploads::ready();
    {
        let mut ada = uploads.ada();
        let mut idle = uploads.ada();
        let mut data = ada.data("STOR f");
        data.write_all(&[1; 100_000]).unwrap();
        data.flush().unwrap();
        uploads.node.signal(rustix::process::Signal::TERM);
        assert_eq!(idle.reply().0, 421);
        data.write_all(&[2; 100_000]).unwrap();
        data.end();
        assert_eq!(ada.reply().0, 226);
        assert_eq!(ada.reply().0, 421);
    }
    assert!(uploads.node.wait_end(30).success());
    assert_eq!(fs::read(uploads.root.join("f")).unwrap().len(), 200_000);
}

/// Killed in the midst of uploads, a node leaves each file as it was or as it became, and counts what is there.
#[test]
fn a_killed_node_leaves_old_or_new() {
    let mut uploads = Uploads::ready();
    let versions: Vec<Vec<u8>> = (0..2_u8).map(|version| vec![version; 700_000]).collect();
    for round in 0..5_u64 {
        std::thread::scope(|scope| {
            let (uploads, versions) = (&uploads, &versions);
            for name in ["a", "b"] {
                let mut old = uploads.old();
                scope.spawn(move || {
                    for version in versions.iter().cycle() {
                        let port = old.try_port();
                        let Some(Ok(mut data)) = port.map(TcpStream::connect) else { return };
                        if old.try_send(format!("STOR {name}\r\n").as_bytes()).is_err() {
                            return;
                        }
                        let _ = data.write_all(version);
                        drop(data);
                        if old.try_reply().is_err() || old.try_reply().is_err() {
                            return;
                        }
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(150 + round * 7));
            uploads.node.signal(rustix::process::Signal::KILL);
        });
        uploads.node.wait_end(30);
        for name in ["a", "b"] {
            if let Ok(found) = fs::read(uploads.root.join(name)) {
                assert!(versions.contains(&found), "{name} is torn: {} bytes", found.len());
            }
        }
        uploads.node.start();
        uploads.learn();
    }
    uploads.is_well();
    assert_eq!(fs::read_dir(uploads.root.with_file_name("incoming")).unwrap().count(), 0);
}
