//! Whose turn it is, and when it is nobody's.
use super::*;

fn node(name: &str, part: Part, version: &str) -> Member {
    Member {
        name: name.into(),
        id: name.into(),
        part,
        up: true,
        answers: true,
        reach: vec!["192.0.2.1:7480".into()],
        hidden: false,
        version: Some(version.into()),
        knows: Some(LEVEL),
        revision: Some(9),
        behind: Some(0),
        differs: false,
        served: Some(9),
        planes: None,
        disk_free: None,
        disk_size: None,
        clock_ahead: Some(0),
    }
}

fn cluster(nodes: Vec<Member>) -> ClusterStatus {
    let leader = nodes.iter().find(|node| node.part == Part::Leader).map(|node| node.name.clone());
    ClusterStatus { cluster: Some("cd".into()), level: LEVEL, revision: 9, leader, term: 2, nodes }
}

fn four() -> ClusterStatus {
    let parts = [("a", Part::Leader), ("b", Part::Voter), ("c", Part::Voter), ("d", Part::Learner)];
    cluster(parts.map(|(name, part)| node(name, part, "1.0.0")).into())
}

fn gone(node: &mut Member) {
    (node.up, node.answers, node.version, node.served) = (false, false, None, None);
}

#[test]
fn who_decides_nothing_goes_first_and_who_leads_goes_last() {
    let mut status = four();
    assert_eq!(plan(&status, "1.1.0", 0).left, ["d", "b", "c", "a"]);
    for (at, left) in [(3, vec!["b", "c", "a"]), (1, vec!["c", "a"]), (2, vec!["a"]), (0, vec![])] {
        status.nodes[at].version = Some("1.1.0".into());
        let plan = plan(&status, "1.1.0", 9);
        assert_eq!((plan.left, plan.stopped, plan.waits), (left, None, None));
    }
    // Back to the version before, the same way.
    assert_eq!(plan(&status, "1.0.0", 0).left, ["d", "b", "c", "a"]);
}

#[test]
fn nobody_goes_before_the_one_before_is_back_in_its_place() {
    let mut status = four();
    status.nodes[3].version = Some("1.1.0".into());
    status.nodes[3].served = Some(8);
    let why = plan(&status, "1.1.0", 9).waits.unwrap();
    assert!(why.contains("d runs 1.1.0, and serves revision 8 of 9"), "{why}");
    status.nodes[3].served = Some(9);
    status.nodes[3].up = false;
    assert!(plan(&status, "1.1.0", 9).waits.unwrap().contains("does not count it as up"));
}

#[test]
fn a_majority_is_left_whoever_goes() {
    let mut status = four();
    gone(&mut status.nodes[2]);
    // A learner may go while a voter is away; a voter may not.
    assert_eq!(plan(&status, "1.1.0", 0).stopped, None);
    status.nodes[3].version = Some("1.1.0".into());
    let why = plan(&status, "1.1.0", 0).stopped.unwrap();
    assert_eq!(why, "c does not answer, and without b too no majority would be left");
    // Of five voters one may be away.
    status.nodes.push(node("e", Part::Voter, "1.0.0"));
    status.nodes.push(node("f", Part::Voter, "1.0.0"));
    let four_of_five = plan(&status, "1.1.0", 0);
    assert_eq!((four_of_five.stopped, four_of_five.away), (None, vec!["c"]));
    gone(&mut status.nodes[1]);
    assert!(plan(&status, "1.1.0", 0).stopped.is_some());
    // One alone is a majority whatever it does.
    assert_eq!(plan(&cluster(vec![node("a", Part::Leader, "1.0.0")]), "1.1.0", 0).stopped, None);
}

#[test]
fn what_is_wrong_is_mended_first() {
    let mut status = four();
    status.nodes[1].differs = true;
    assert!(plan(&status, "1.1.0", 0).stopped.unwrap().starts_with("b has another state"));
    let mut status = four();
    status.leader = None;
    assert!(plan(&status, "1.1.0", 0).stopped.unwrap().starts_with("no node leads"));
    let mut status = four();
    status.level = LEVEL + 1;
    assert!(plan(&status, version(), 0).stopped.unwrap().contains("the state is at level"));
    // At the end whoever was away is left over.
    let mut status = four();
    status.nodes.iter_mut().for_each(|node| node.version = Some("1.1.0".into()));
    gone(&mut status.nodes[3]);
    assert_eq!(
        plan(&status, "1.1.0", 0).stopped.unwrap(),
        "d does not answer: bring it back, or take it out (`ruche node rm`)"
    );
}

#[test]
fn versions_are_ordered_by_number() {
    let order = ["0.1.0", "0.9.0", "0.10.0-rc.1", "0.10.0-rc.2", "0.10.0", "1.0.0"];
    for pair in order.windows(2) {
        assert!(rank(pair[0]) < rank(pair[1]), "{pair:?}");
    }
    let mut status = four();
    assert_eq!(newest(&status), "1.0.0");
    status.nodes.iter_mut().for_each(|node| node.version = Some("0.0.1".into()));
    assert_eq!(newest(&status), version());
}
