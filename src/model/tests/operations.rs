//! The life of an operation: started, moved on, asked to stop, ended once, then history.
use crate::base::ids::OperationId;
use crate::model::answer::Object;
use crate::model::change::Change;
use crate::model::effect::Effect;
use crate::model::operations::{OperationFinish, OperationProgress, OperationStart, Status};
use crate::model::row::Row;
use crate::model::tests::world::{World, account};
use crate::model::tokens::Access;

fn start(subject: &str, owner: Option<&str>) -> Change {
    let (action, subject) = ("site.move".to_owned(), subject.to_owned());
    Change::OperationStart(OperationStart { action, subject, account: owner.map(account), total: Some(3) })
}

fn progress(id: OperationId, stage: &str, done: u64) -> Change {
    Change::OperationProgress(OperationProgress { id, stage: stage.to_owned(), done, total: Some(3) })
}

fn finish(id: OperationId, status: Status) -> Change {
    Change::OperationFinish(OperationFinish { id, status })
}

#[test]
fn from_start_to_history() {
    let mut world = World::new().with_account("ada", None);
    world.refused_as("not-found", start("a.test", Some("nobody")));
    world.refused_as("invalid", start("", None));
    world.refused_as("invalid", start(&"a".repeat(201), None));
    let Some(Object::Operation(begun)) = world.ok(start("a.test", Some("ada"))).object else { panic!() };
    assert_eq!((begun.status, begun.done, begun.total), (Status::Running, 0, Some(3)));
    let id = begun.id;
    world.refused_as("not-found", progress(OperationId(1), "copy", 1));
    world.refused_as("invalid", progress(id, "", 1));
    world.ok(progress(id, "copy", 1));
    assert_eq!(world.state.operations[&id].stage, "copy");
    world.refused_as("invalid", finish(id, Status::Running));
    assert_eq!(world.event(finish(id, Status::Cancelling)).action, "operation.cancel");
    world.ok(progress(id, "undo", 2));
    let failed = Status::Failed { reason: "the disk is full".into() };
    let (effects, answer) = world.send(finish(id, failed.clone())).unwrap();
    let Some(Object::Operation(ended)) = answer.object else { panic!() };
    assert_eq!((&ended.status, ended.ended, ended.done), (&failed, Some(world.state.time), 2));
    let kept = effects.iter().any(|effect| match effect {
        Effect::Put(stored) => stored.row == Row::FinishedOperation(ended.clone()),
        _ => false,
    });
    assert!(kept && world.state.operations.is_empty());
    for late in [finish(id, Status::Succeeded), progress(id, "more", 3)] {
        world.refused_as("not-found", late);
    }
}

#[test]
fn an_account_moves_only_its_own() {
    let mut world = World::new().with_account("ada", None).with_account("bob", None);
    let Some(Object::Operation(of_bob)) = world.ok(start("b.test", Some("bob"))).object else { panic!() };
    world.become_token(Access::Write, Some("ada"), None);
    world.refused_as("not-found", finish(of_bob.id, Status::Cancelled));
    world.refused_as("forbidden", start("b.test", Some("bob")));
    let Some(Object::Operation(own)) = world.ok(start("a.test", None)).object else { panic!() };
    assert_eq!(own.account, Some(account("ada")));
    world.ok(finish(own.id, Status::Cancelling));
}
