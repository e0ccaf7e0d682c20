use crate::support::open;
use journal::{
    Journal,
    disk::MemoryDisk,
    suite::{self, House},
};
use std::sync::Arc;

#[tokio::test]
async fn it_conforms() {
    suite::all(&|| Box::pin(async { Arc::new(open(&MemoryDisk::new()).await.expect("an empty disk opens")) as Arc<dyn Journal> })).await;
}

#[tokio::test]
async fn many_at_once_are_all_answered() {
    let house = House::new(Arc::new(open(&MemoryDisk::new()).await.unwrap())).await;
    let before = house.position();
    let node = |number| events::Event::Node(events::NodeId(number), events::node::Event::Joined);
    let appends = (1..200).map(|number| house.keep(node(number)));
    let outcomes = futures_util::future::join_all(appends).await;
    assert!(outcomes.iter().all(|outcome| *outcome == events::transaction::Outcome::Taken));
    assert_eq!(house.position(), before + 199);
}

#[tokio::test]
async fn a_second_process_finds_the_directory_taken() {
    let disk = MemoryDisk::new();
    let first = open(&disk).await.unwrap();
    assert!(store::DataDir::open(Arc::new(disk.clone()), [1; 16]).is_err());
    first.stop().await;
    drop(first);
    open(&disk).await.expect("free again");
}
