//! Reading anywhere in a file that comes as a stream.

use super::{
    house::{House, bytes, path, piece},
    objects::Objects,
};
use crate::{Reads, Settings, Unftp, read::WINDOW};
use lockgate_vfs::{Backend as _, VfsError};
use unftp_core::auth::DefaultUser;

/// Jumps near and far, ahead and back.
const JUMPS: &[(usize, usize)] = &[
    (0, 10),
    (10, 100_000),
    (300_000, 10),
    (290_000, 30_000),
    (2_000_000, 5),
    (0, 5),
    (1_999_000, 700_000),
    (4, 3_000_000),
    (2_999_999, 10),
    (3_000_000, 10),
    (9_000_000, 10),
];

async fn jump_around(store: &Unftp, whole: &[u8]) {
    let file = store.open(&path("/f")).await.unwrap();
    for &(at, length) in JUMPS {
        let wanted = &whole[at.min(whole.len())..(at + length).min(whole.len())];
        assert!(piece(file.as_ref(), at as u64, length).await.unwrap() == wanted, "{length} bytes from {at}");
    }
}

#[tokio::test]
async fn a_file_is_read_at_any_place_in_any_order() {
    let house = House::new();
    let whole = bytes(3_000_000);
    std::fs::write(house.host("f"), &whole).unwrap();
    jump_around(&house.files().await, &whole).await;
    let objects = Objects::default();
    objects.put_now("f", &whole);
    jump_around(&house.objects(&objects).await, &whole).await;
    // A back-end whose streams begin at the start only is read past.
    let settings = Settings { reads: Reads::AsOffered, ..house.object_settings() };
    jump_around(&Unftp::mount(objects, DefaultUser, settings).await.unwrap(), &whole).await;
}

#[tokio::test]
async fn pieces_asked_for_a_little_out_of_order_come_from_one_stream() {
    let house = House::new();
    let (objects, whole) = (Objects::default(), bytes(2_000_000));
    objects.put_now("f", &whole);
    let store = house.objects(&objects).await;
    let file = store.open(&path("/f")).await.unwrap();
    let places: Vec<usize> = (0..whole.len() / 32_768).collect();
    for three in places.chunks(3) {
        for place in three.iter().rev() {
            let at = place * 32_768;
            assert!(piece(file.as_ref(), at as u64, 32_768).await.unwrap() == whole[at..at + 32_768]);
        }
    }
    assert_eq!(objects.gets(), 1);
}

#[tokio::test]
async fn a_file_that_changed_is_never_read_as_a_mixture() {
    let house = House::new();
    let (objects, whole) = (Objects::default(), bytes(1_000_000));
    objects.put_now("f", &whole);
    let store = house.objects(&objects).await;
    let file = store.open(&path("/f")).await.unwrap();
    piece(file.as_ref(), 0, 10).await.unwrap();
    objects.put_now("f", &[7; 1_000_000]);
    let jumped = piece(file.as_ref(), 900_000, 10).await;
    assert!(matches!(jumped, Err(VfsError::Changed(_))), "{jumped:?}");
    let ended = piece(file.as_ref(), 0, 1_000_000).await;
    assert!(matches!(ended, Err(VfsError::Changed(_))));
    let anew = store.open(&path("/f")).await.unwrap();
    assert!(piece(anew.as_ref(), 0, 1_000_000).await.unwrap() == [7; 1_000_000]);
}

#[tokio::test]
async fn a_small_object_is_read_as_it_was_when_it_was_opened() {
    let house = House::new();
    let objects = Objects::default();
    objects.put_now("f", &bytes(WINDOW as u32));
    objects.put_now("empty", b"");
    let store = house.objects(&objects).await;
    let file = store.open(&path("/f")).await.unwrap();
    objects.put_now("f", b"new");
    assert!(piece(file.as_ref(), 0, WINDOW).await.unwrap() == bytes(WINDOW as u32));
    assert!(piece(file.as_ref(), 5, 5).await.unwrap() == bytes(10)[5..]);
    let empty = store.open(&path("/empty")).await.unwrap();
    assert_eq!(piece(empty.as_ref(), 0, 10).await.unwrap(), b"");
}

#[tokio::test]
async fn a_stream_that_ends_early_is_an_error_and_no_short_file() {
    let house = House::new();
    std::fs::write(house.host("f"), bytes(1_000_000)).unwrap();
    let store = house.files().await;
    let file = store.open(&path("/f")).await.unwrap();
    std::fs::write(house.host("f"), b"cut").unwrap();
    assert!(matches!(piece(file.as_ref(), 0, 1_000_000).await, Err(VfsError::Backend { .. })));
}
