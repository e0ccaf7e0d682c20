use super::*;
use journal::disk::MemoryDisk;

const KEY: DataKey = [7; 32];
const A: TenantId = TenantId(1);
const B: TenantId = TenantId(2);
const HOUR: Duration = Duration::from_secs(3_600);

fn at(hours: u32) -> Timestamp {
    Timestamp(0).plus(DAY * 20_000).plus(HOUR * hours)
}

fn call(number: u64, at: Timestamp) -> CallId {
    CallId::new(at.as_ms(), number.into())
}

fn store(disk: &MemoryDisk) -> Store {
    Store::open(Arc::new(disk.clone()), 1 << 30).unwrap()
}

fn add(store: &mut Store, tenant: TenantId, number: u64, hours: u32, keep_hours: u32, plain: &[u8]) -> CallId {
    let id = call(number, at(hours));
    store.append(at(hours), (tenant, id), keep_hours, &KEY, plain).unwrap();
    id
}

fn text(store: &Store, id: CallId, tenant: TenantId, now: Timestamp) -> Option<Vec<u8>> {
    store.find(id, &BTreeSet::from([tenant]), now).unwrap()?.open(&KEY)
}

fn files(disk: &MemoryDisk) -> Vec<(String, Vec<u8>)> {
    let read = |name: &String| read_whole(disk, name, 1 << 30).unwrap().unwrap();
    disk.list().unwrap().into_iter().map(|name| (name.clone(), read(&name))).collect()
}

#[test]
fn what_is_kept_is_found_by_its_tenant_also_after_a_restart_and_nowhere_in_the_clear() {
    let disk = MemoryDisk::new();
    let mut first = store(&disk);
    let ids: Vec<_> =
        (0..50).map(|n| add(&mut first, if n % 2 == 0 { A } else { B }, n, 1, 24, format!("canary {n}").as_bytes())).collect();
    for opened in [first, store(&disk)] {
        for (n, id) in ids.iter().enumerate() {
            let (own, other) = if n % 2 == 0 { (A, B) } else { (B, A) };
            assert_eq!(text(&opened, *id, own, at(2)).unwrap(), format!("canary {n}").as_bytes());
            assert!(text(&opened, *id, other, at(2)).is_none());
        }
        assert!(opened.find(ids[0], &BTreeSet::from([A]), at(2)).unwrap().unwrap().open(&[8; 32]).is_none(), "another key");
    }
    assert!(files(&disk).iter().all(|(_, bytes)| !bytes.windows(6).any(|window| window == b"canary")));
}

#[test]
fn a_torn_end_is_cut_and_what_follows_is_appended_there() {
    let disk = MemoryDisk::new();
    let mut before = store(&disk);
    let ids: Vec<_> = (0..3).map(|n| add(&mut before, A, n, 1, 24, b"plain")).collect();
    let (file, bytes) = files(&disk).remove(0);
    for cut in 0..bytes.len() {
        disk.create(&file).unwrap().write_at(0, &bytes[..cut]).unwrap();
        let mut opened = store(&disk);
        let there = ids.iter().filter(|id| text(&opened, **id, A, at(1)).is_some()).count();
        assert_eq!(there, cut / (bytes.len() / 3), "cut at {cut}");
        let more = add(&mut opened, A, 99, 1, 24, b"more");
        assert_eq!(text(&store(&disk), more, A, at(1)).unwrap(), b"more");
        disk.list().unwrap().iter().for_each(|name| disk.remove(name).unwrap());
    }
}

#[test]
fn a_flipped_byte_costs_its_record_and_no_other() {
    let disk = MemoryDisk::new();
    let mut before = store(&disk);
    let ids: Vec<_> = (0..3).map(|n| add(&mut before, A, n, 1, 24, b"plain")).collect();
    let (file, bytes) = files(&disk).remove(0);
    let each = bytes.len() / 3;
    for flipped in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[flipped] ^= 0x10;
        disk.create(&file).unwrap().write_at(0, &damaged).unwrap();
        let opened = store(&disk);
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(text(&opened, *id, A, at(1)).is_some(), n != flipped / each, "byte {flipped}, record {n}");
        }
    }
}

#[test]
fn what_is_too_old_is_not_shown_and_goes_by_files() {
    let disk = MemoryDisk::new();
    let mut store = store(&disk);
    let (short, long) = (add(&mut store, A, 1, 1, 2, b"short"), add(&mut store, A, 2, 1, 48, b"long"));
    assert!(text(&store, short, A, at(2)).is_some());
    assert!(text(&store, short, A, at(3)).is_none(), "over to the second");
    assert_eq!(store.expire(at(2)).unwrap(), Gone::default());
    assert_eq!(store.expire(at(3)).unwrap(), Gone { files: 1, records: 1 });
    assert!(text(&store, long, A, at(3)).is_some());
    assert_eq!(disk.list().unwrap().len(), 1);
}

#[test]
fn the_oldest_go_where_there_are_too_many_bytes() {
    let disk = MemoryDisk::new();
    let mut store = Store::open(Arc::new(disk.clone()), 4_000).unwrap();
    let mut gone = 0;
    for n in 0..100 {
        let hours = 24 * n as u32; // a file each
        gone += store.append(at(hours), (A, call(n, at(hours))), 24 * 90, &KEY, b"plain").unwrap().records;
        assert!(store.bytes() <= 4_000);
    }
    assert!(gone > 50 && gone < 100);
    assert!(text(&store, call(99, at(24 * 99)), A, at(24 * 99)).is_some());
}

#[test]
fn a_tenants_files_are_erased_and_no_others() {
    let disk = MemoryDisk::new();
    let mut store = store(&disk);
    let (a, b) = (add(&mut store, A, 1, 1, 24, b"a"), add(&mut store, B, 2, 1, 24, b"b"));
    assert_eq!(store.erase(|tenant| tenant == A).unwrap(), Gone { files: 1, records: 1 });
    assert!(text(&store, a, A, at(1)).is_none() && text(&store, b, B, at(1)).is_some());
    assert_eq!(disk.list().unwrap().len(), 1);
}

#[test]
fn the_newest_stays_also_where_all_is_of_one_day() {
    let mut store = Store::open(Arc::new(MemoryDisk::new()), 4_000).unwrap();
    for n in 0..100 {
        let id = add(&mut store, A, n, 1, 24, b"plain");
        assert!(text(&store, id, A, at(1)).is_some() && store.bytes() <= 4_000, "{n}");
    }
}
