//! Where sites go: what counts, what does not go, and evening out that comes to an end.
use crate::base::ids::{NodeId, OperationId};
use crate::base::names::NodeName;
use crate::model::effect::Stored;
use crate::model::moves::{Moving, Stage};
use crate::model::nodes::{Node, Role};
use crate::model::placement::{Boards, Facts, Wish, balance, place};
use crate::model::row::Row;
use crate::model::sites::{Handler, Site};
use crate::model::state::State;
use crate::model::tests::world::{START, stored_site};

const GIB: u64 = 1 << 30;

/// Nodes `pi-1` and on, each with so many sites.
fn state(sites: &[u64]) -> State {
    let mut state = State::default();
    let mut number = 0;
    for (id, sites) in (1..).zip(sites) {
        node(&mut state, id, |_| {});
        for _ in 0..*sites {
            number += 1;
            let site = stored_site(number, &format!("s{number}.example"));
            state.put(&Stored::new(Row::Site(Site { home: NodeId(id), ..site }.into())));
        }
    }
    state
}

fn node(state: &mut State, id: u64, change: impl Fn(&mut Node)) {
    let name = NodeName::parse(&format!("pi-{id}")).unwrap();
    let mut node = Node::new(NodeId(id), name, START, 1);
    change(&mut node);
    state.put(&Stored::new(Row::Node(node)));
}

/// Free of 100 GiB, and load, of each node.
fn boards(facts: &[(u64, u32)]) -> Boards {
    let facts = facts.iter().map(|(free, load)| Facts { free: free * GIB, size: 100 * GIB, load: *load });
    (1..).map(NodeId).zip(facts).collect()
}

fn chosen(state: &State, boards: &Boards, wish: Wish<'_>) -> u64 {
    place(state, boards, wish).unwrap().node.0
}

#[test]
fn disk_load_and_number_of_sites_count() {
    let wish = Wish::default();
    let even = state(&[2, 2, 2]);
    assert_eq!(chosen(&even, &boards(&[(50, 10), (80, 10), (50, 10)]), wish), 2, "more free");
    assert_eq!(chosen(&even, &boards(&[(50, 90), (50, 90), (50, 10)]), wish), 3, "less load");
    assert_eq!(chosen(&state(&[5, 4, 3]), &boards(&[(50, 10); 3]), wish), 3, "fewer sites");
    assert_eq!(chosen(&state(&[5, 4, 3]), &Boards::new(), wish), 3, "where nobody was asked sites are counted");
    assert_eq!(chosen(&even, &boards(&[(50, 10); 3]), wish), 1, "the same each time");
    let placed = place(&state(&[1, 0]), &boards(&[(50, 7), (50, 7)]), wish).unwrap();
    assert_eq!(placed.reason, "it fits best: 50.0 GiB free, load 7 %, 0 sites");
    assert_eq!(placed.others[0].node.as_str(), "pi-1");
    assert_eq!(placed.others[0].reason, "50.0 GiB free, load 7 %, 1 site");
    let here = Wish { bytes: 0, except: &[NodeId(2)], apart: &[] };
    assert_eq!(chosen(&state(&[9, 0]), &boards(&[(50, 7), (50, 7)]), here), 1, "not where it is");
}

#[test]
fn copies_of_a_site_lie_under_different_labels_if_they_can() {
    let mut state = state(&[0, 0, 5]);
    for (id, labels) in [
        (1, [("rack", "a"), ("house", "x")]),
        (2, [("rack", "a"), ("house", "y")]),
        (3, [("rack", "b"), ("house", "a")]),
    ] {
        node(&mut state, id, |node| {
            node.labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        });
    }
    let facts = boards(&[(90, 5), (90, 5), (50, 90)]);
    let wish = Wish { bytes: 0, except: &[NodeId(1)], apart: &[NodeId(1)] };
    let placed = place(&state, &facts, wish).unwrap();
    assert_eq!((placed.node, placed.reason.as_str()), (NodeId(3), "it fits best: 50.0 GiB free, load 90 %, 5 sites"));
    assert_eq!(placed.others[0].reason, "90.0 GiB free, load 5 %, 0 sites, under a label of another copy");
    assert_eq!(chosen(&state, &facts, Wish { apart: &[], ..wish }), 2, "where there is no other copy, none counts");
    // A move to a node that has the copy itself, and nobody else is there.
    assert_eq!(chosen(&state, &facts, Wish { except: &[], apart: &[NodeId(2)], ..wish }), 2);
    let last = place(&state, &facts, Wish { except: &[NodeId(1), NodeId(3)], ..wish }).unwrap();
    assert_eq!(last.node, NodeId(2), "rather there than nowhere");
}

#[test]
fn copies_count_like_sites_where_one_is_placed() {
    let mut state = state(&[6, 0, 0]);
    let homes: Vec<Site> = state.sites.values().map(|site| Site::clone(site)).collect();
    let mut kept = [0, 0, 0];
    for site in homes {
        let wish = Wish { bytes: 0, except: &[site.home], apart: &[site.home] };
        let placed = place(&state, &boards(&[(50, 10); 3]), wish).unwrap();
        kept[usize::try_from(placed.node.0).unwrap() - 1] += 1;
        state.put(&Stored::new(Row::Site(Site { standbys: vec![placed.node], ..site }.into())));
    }
    assert_eq!(kept, [0, 3, 3]);
    let wish = Wish { bytes: 0, except: &[NodeId(1)], apart: &[NodeId(1)] };
    let placed = place(&state, &boards(&[(50, 7); 3]), wish).unwrap();
    assert_eq!(placed.reason, "it fits best: 50.0 GiB free, load 7 %, sites: 0, copies: 3");
}

#[test]
fn what_does_not_go_is_said_of_each_node() {
    let mut state = state(&[0, 0, 0, 0, 0, 0]);
    node(&mut state, 1, |node| node.roles = [Role::Dns].into());
    node(&mut state, 2, |node| node.down = true);
    node(&mut state, 3, |node| node.cordoned = true);
    let mut facts = boards(&[(50, 10); 6]);
    facts.remove(&NodeId(5));
    facts.get_mut(&NodeId(4)).unwrap().free = GIB;
    let wish = Wish { bytes: GIB, except: &[], apart: &[] };
    let placed = place(&state, &facts, wish).unwrap();
    assert_eq!(placed.node, NodeId(6));
    let others: Vec<_> = placed.others.iter().map(|other| (other.reason.as_str(), other.is_away)).collect();
    let wanted = [
        ("it does not have the role web", false),
        ("it is down", true),
        ("it is cordoned", false),
        ("it has 1.0 GiB free, and 1.0 GiB are to come", false),
        ("it does not answer", true),
    ];
    assert_eq!(others, wanted);
    let none = place(&state, &facts, Wish { bytes: GIB, except: &[NodeId(6)], apart: &[] }).unwrap_err();
    assert_eq!(none.len(), 5);
}

/// The numbers of sites after the moves, and how many these are.
fn evened(state: &mut State, boards: &Boards) -> (Vec<u64>, usize) {
    let ways = balance(state, boards);
    for way in &ways {
        let site = Site::clone(&state.sites[&way.site]);
        assert_eq!(site.home, way.from);
        state.put(&Stored::new(Row::Site(Site { home: way.to, ..site }.into())));
    }
    (state.nodes.keys().map(|node| state.sites_at(*node)).collect(), ways.len())
}

#[test]
fn few_moves_make_the_numbers_even_and_then_there_are_none() {
    let tables: [(&[u64], &[u64], usize); 5] = [
        (&[3, 3, 3], &[3, 3, 3], 0),
        (&[2, 1, 1], &[2, 1, 1], 0),
        (&[5, 1, 0], &[2, 2, 2], 3),
        (&[30, 0, 0], &[11, 10, 9], 19),
        (&[100, 95, 90], &[100, 95, 90], 0),
    ];
    for (before, after, moves) in tables {
        let mut state = state(before);
        let facts = boards(&vec![(50, 10); before.len()]);
        assert_eq!(evened(&mut state, &facts), (after.to_vec(), moves), "{before:?}");
        assert_eq!(balance(&state, &facts), [], "{before:?}");
    }
}

#[test]
fn moves_under_way_count_where_they_go_and_are_not_made_again() {
    let mut state = state(&[5, 0]);
    let facts = boards(&[(50, 10); 2]);
    for way in balance(&state, &facts) {
        let (operation, to, stage) = (OperationId(way.site.0), way.to, Stage::Copying);
        let moving = Moving { operation, to, stage, bandwidth: None, reason: Some(way.reason), hold: false };
        let moving = Some(moving.into());
        let site = Site::clone(&state.sites[&way.site]);
        state.put(&Stored::new(Row::Site(Site { moving, ..site }.into())));
    }
    assert!(!state.moving.is_empty());
    assert_eq!(balance(&state, &facts), []);
    assert_eq!(chosen(&state, &facts, Wish::default()), 2, "2 against 3");
}

#[test]
fn a_new_site_is_rather_on_a_full_disk_than_nowhere() {
    let state = state(&[0, 0]);
    let mut facts = boards(&[(50, 10); 2]);
    facts.values_mut().for_each(|facts| facts.free = 5);
    let new = place(&state, &facts, Wish { bytes: 0, except: &[NodeId(1)], apart: &[] }).unwrap();
    assert_eq!((new.node, new.others), (NodeId(2), vec![]));
    assert!(place(&state, &facts, Wish { bytes: 1, except: &[], apart: &[] }).is_err());
    facts.get_mut(&NodeId(2)).unwrap().free = GIB;
    assert_eq!(place(&state, &facts, Wish::default()).unwrap().node, NodeId(2));
}

#[test]
fn what_is_bound_or_closed_takes_no_part() {
    let mut all = state(&[6, 0, 0, 0]);
    node(&mut all, 2, |node| node.cordoned = true);
    let mut facts = boards(&[(50, 10); 4]);
    facts.get_mut(&NodeId(3)).unwrap().free = 0;
    for id in 1..=4 {
        let site = Site::clone(&all.sites[&crate::base::ids::SiteId(id)]);
        let handler = Handler::Proxy { upstreams: vec!["http://127.0.0.1:3000".into()] };
        all.put(&Stored::new(Row::Site(Site { handler, ..site }.into())));
    }
    assert_eq!(evened(&mut all, &facts), (vec![4, 0, 0, 2], 2));
    let mut away = state(&[6, 0]);
    node(&mut away, 1, |node| node.cordoned = true);
    assert_eq!(balance(&away, &boards(&[(50, 10); 2])), [], "that is a drain");
}
