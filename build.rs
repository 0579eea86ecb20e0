//! Tells the linker how to write the binary, for the memory of an idle node: relocations packed (0.8 MB less), and what such a
//! node needs of the code side by side (5 MB less, because a kernel maps what lies around a page as well).
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=packaging/layout.ld");
    let target = |part: &str| std::env::var(format!("CARGO_CFG_TARGET_{part}")).unwrap_or_default();
    // The loader knows them from glibc 2.36 on, that of Debian 12.
    if target("OS") == "linux" && target("ENV") == "gnu" {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        // Written by benches/idle/layout. It takes a linker seconds, which a build that is tested at once does without.
        if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
            let root = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
            println!("cargo::rustc-link-arg-bins=-Wl,-T,{root}/packaging/layout.ld");
        }
    }
}
