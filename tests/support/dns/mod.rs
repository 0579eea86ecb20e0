//! Authoritative servers side by side: the same zones on this node, NSD and Knot, the same questions, and what differs.
pub mod compare;
pub mod peers;
pub mod questions;
pub mod rules;
pub mod wire;
pub mod zones;

use self::compare::Report;
use self::wire::Mode;

/// Serves all zones everywhere and compares this node with each peer; one name in `thin`, in these modes.
pub fn against_peers(thin: usize, modes: &[Mode]) {
    let all: Vec<_> = zones::everyday().into_iter().chain(zones::edge()).collect();
    let (nsd, knot) = (peers::nsd(&all), peers::knot(&all));
    let (node, address) = peers::own(&all);
    let asked = questions::all(&all, thin);
    let mut faults = Vec::new();
    for (peer, rules) in [(&nsd, rules::NSD), (&knot, rules::KNOT)] {
        let Report { asked, same, explained, faults: found } =
            compare::compare(("ruche", address), (peer.name, peer.address), &asked, modes, rules);
        println!(
            "{}: {asked} asked, {same} the same, {} unexplained; explained: {explained:?}",
            peer.name,
            found.len()
        );
        faults.extend(found);
    }
    drop(node);
    assert!(faults.is_empty(), "{} differences that no rule explains, such as\n{}", faults.len(), brief(&faults));
}

/// Enough of them to begin with.
fn brief(faults: &[String]) -> String {
    let most = std::env::var("RUCHE_FAULTS_SHOWN").ok().and_then(|most| most.parse().ok()).unwrap_or(20);
    faults.iter().take(most).cloned().collect::<Vec<_>>().join("\n")
}
