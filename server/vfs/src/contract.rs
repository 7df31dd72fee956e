//! What every [`Backend`] must keep, as one check that its own tests call: `contract::check(store).await` on an empty store.
//!
//! The rules are the ones of files.md that a store alone can keep: a name has its old state or its new one and nothing
//! between, what is cut off is gone or kept just as it was asked, and what uploads leave beside names is never seen. What a
//! store cannot do, it must refuse by saying so, as its capabilities do. An answer that breaks a rule comes back as a
//! sentence; nothing here panics.

use crate::{Backend, Ended, Entry, Kind, LastLink, OpenFile, Overwrite, PartialKey, Published, StagedFile, VfsError};
use lockgate_model::{UserName, VPath};
use std::time::Duration;

/// How a rule was broken.
type Broken = String;

/// Long enough that nothing made during a check is old.
const LONG: Duration = Duration::from_secs(3600);

macro_rules! rule {
    ($holds:expr, $($text:tt)+) => {
        if !$holds {
            return Err(format!($($text)+));
        }
    };
}

macro_rules! refused {
    ($outcome:expr, $expected:pat, $text:literal) => {
        match $outcome {
            Err($expected) => {}
            Err(error) => return Err(format!("{}, and not: {error}", $text)),
            Ok(_) => return Err(format!("{}, and not success", $text)),
        }
    };
}

/// Checks all rules on `store`, which is empty and is empty again afterwards.
///
/// # Errors
/// The first rule that is broken, as a sentence.
pub async fn check(store: &dyn Backend) -> Result<(), String> {
    committing(store).await?;
    aborting(store).await?;
    keeping(store).await?;
    losing_the_folder(store).await?;
    listing(store).await?;
    renaming(store).await?;
    removing(store).await?;
    counting_and_sweeping(store).await?;
    patching(store).await?;
    extras(store).await?;
    let left = rows(store, "/").await?;
    rule!(left.is_empty(), "a store is empty after everything in it was removed");
    Ok(())
}

async fn committing(store: &dyn Backend) -> Result<(), Broken> {
    let name = path("/file")?;
    let staged = filled(store, "/file", b"one").await?;
    refused!(store.metadata(&name).await, VfsError::NotFound(_), "until its commit a new name is not there");
    let published = publish(staged, Overwrite::Refuse).await?;
    rule!(published.replaced.is_none(), "a commit of a new name says that it is new");
    rule!(
        published.metadata == said(store.metadata(&name).await)?,
        "a commit answers with the facts that the name has then"
    );
    let reader = said(store.open(&name).await)?;
    let staged = filled(store, "/file", b"second").await?;
    rule!(read(store, "/file").await? == b"one", "until its commit a name has its old bytes");
    let published = publish(staged, Overwrite::Replace).await?;
    rule!(published.replaced == Some(3), "a commit says how many bytes it replaced");
    rule!(read(store, "/file").await? == b"second", "after its commit a name has its new bytes");
    rule!(all_of(reader.as_ref()).await? == b"one", "an open file goes on with the bytes of the moment it was opened");
    let staged = filled(store, "/file", b"third").await?;
    refused!(
        publish_raw(staged, Overwrite::Refuse).await,
        VfsError::Exists(_),
        "a commit that may not replace is refused where the name exists"
    );
    rule!(read(store, "/file").await? == b"second", "a refused commit changes nothing");
    said(store.make_folder(&path("/folder")?).await)?;
    let staged = filled(store, "/folder", b"x").await?;
    refused!(publish_raw(staged, Overwrite::Replace).await, VfsError::IsFolder(_), "a commit onto a folder is refused");
    refused!(store.stage(&path("/none/f")?).await, VfsError::NotFound(_), "a staged file needs its folder");
    said(store.remove_folder(&path("/folder")?).await.outcome)?;
    rule!(said(store.remove_file(&name).await)? == 6, "a removal says how many bytes it gave back");
    rule!(rows(store, "/").await?.is_empty(), "refused commits leave nothing");
    Ok(())
}

async fn aborting(store: &dyn Backend) -> Result<(), Broken> {
    said(store.make_folder(&path("/d")?).await)?;
    filled(store, "/d/one", b"x").await?.discard();
    drop(filled(store, "/d/two", b"x").await?);
    rule!(rows(store, "/d").await?.is_empty(), "a discarded or dropped staged file is nowhere");
    let mut staged = filled(store, "/d/f", b"0123456789").await?;
    said(staged.set_len(4).await)?;
    said(staged.write_at(6, b"x").await)?;
    let mut buffer = [7; 16];
    let got = said(staged.read_at(2, &mut buffer).await)?;
    rule!(buffer.get(..got) == Some(b"23\0\0x"), "written bytes are read back, and a hole as zeros");
    rule!(said(staged.metadata())?.size == 7, "a staged file knows its length");
    said(staged.sync().await)?;
    drop(staged);
    said(store.remove_folder(&path("/d")?).await.outcome)
}

async fn keeping(store: &dyn Backend) -> Result<(), Broken> {
    let (alice, bob) = (key("alice", "/f")?, key("bob", "/f")?);
    let name = path("/f")?;
    let kept = filled(store, "/f", b"12345").await?.keep(&alice, 4).ok_or("a store keeps partials")?;
    rule!(kept.partial.bytes == 4 && kept.replaced.is_none(), "a partial has the bytes it was cut to");
    rule!(rows(store, "/").await?.is_empty(), "a partial is in no listing");
    refused!(store.metadata(&name).await, VfsError::NotFound(_), "a partial is not the file");
    rule!(said(store.partial(&name, &bob).await)?.is_none(), "a partial is its owner's alone");
    let found = said(store.partial(&name, &alice).await)?.ok_or("a partial is found again")?;
    rule!((found.size, found.unique) == (4, kept.partial.id), "a partial answers with its facts");
    let mut staged = said(store.resume(&name, &alice).await)?.ok_or("a partial can be gone on with")?;
    rule!(said(store.partial(&name, &alice).await)?.is_none(), "a resumed partial is none until it is kept again");
    rule!(said(store.resume(&name, &alice).await)?.is_none(), "a partial is gone on with once at a time");
    said(staged.write_at(4, b"5").await)?;
    publish(staged, Overwrite::Refuse).await?;
    rule!(read(store, "/f").await? == b"12345", "a resumed upload commits as a whole");
    let first = filled(store, "/f", b"1").await?.keep(&alice, 1).ok_or("a store keeps partials")?;
    let second = filled(store, "/f", b"12").await?.keep(&alice, 2).ok_or("a store keeps partials")?;
    rule!(second.replaced == Some(first.partial), "a newer partial takes the place of the older one and says so");
    rule!(
        said(store.drop_partial(&name, &alice).await)? == Some(second.partial),
        "dropping a partial says which it was"
    );
    rule!(said(store.drop_partial(&name, &alice).await)?.is_none(), "a partial is dropped once");
    rule!(said(store.go_on(&name, &alice).await)?.is_none(), "what is not there cannot be gone on with");
    filled(store, "/f", b"1").await?.keep(&alice, 1).ok_or("a store keeps partials")?;
    let mut staged = said(store.go_on(&name, &alice).await)?.ok_or("a partial can be gone on with in its place")?;
    rule!(said(store.go_on(&name, &alice).await)?.is_none(), "a partial is gone on with in its place once at a time");
    rule!(said(store.resume(&name, &alice).await)?.is_none(), "what is gone on with in its place is nobody else's");
    said(staged.write_at(1, b"2").await)?;
    let kept = staged.keep(&alice, 2).ok_or("a store keeps partials again")?;
    rule!(kept.partial.bytes == 2, "a partial that was gone on with in its place is there with all that came");
    let staged = said(store.go_on(&name, &alice).await)?.ok_or("a partial can be gone on with again")?;
    publish(staged, Overwrite::Replace).await?;
    rule!(read(store, "/f").await? == b"12", "a partial that was gone on with in its place commits as a whole");
    rule!(said(store.partial(&name, &alice).await)?.is_none(), "what is committed is no partial any more");
    said(store.remove_file(&name).await)?;
    Ok(())
}

async fn losing_the_folder(store: &dyn Backend) -> Result<(), Broken> {
    let folder = path("/going")?;
    said(store.make_folder(&folder).await)?;
    filled(store, "/going/kept", b"123")
        .await?
        .keep(&key("alice", "/going/kept")?, 3)
        .ok_or("a store keeps partials")?;
    let staged = filled(store, "/going/f", b"x").await?;
    let removal = store.remove_folder(&folder).await;
    said(removal.outcome)?;
    rule!(
        removal.partials.iter().map(|partial| partial.bytes).sum::<u64>() == 3,
        "partials that go with their folder are told"
    );
    refused!(
        publish_raw(staged, Overwrite::Replace).await,
        VfsError::NotFound(_),
        "a commit into a folder that went is refused"
    );
    Ok(())
}

async fn listing(store: &dyn Backend) -> Result<(), Broken> {
    let folder = path("/many")?;
    said(store.make_folder(&folder).await)?;
    said(store.make_folder(&path("/many/folder")?).await)?;
    for number in 0..20 {
        publish(filled(store, &format!("/many/{number}"), b"xy").await?, Overwrite::Refuse).await?;
    }
    let mut all = rows(store, "/many").await?;
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all.dedup_by(|a, b| a.name == b.name);
    rule!(all.len() == 21, "each name is listed once");
    let right = |row: &Entry| match row.name.as_slice() {
        b"folder" => row.metadata.kind == Kind::Folder,
        _ => row.metadata.kind == Kind::File && row.metadata.size == 2,
    };
    rule!(all.iter().all(right), "rows have the facts of their names");
    refused!(store.list(&path("/many/1")?).await, VfsError::NotFolder(_), "a file is not listed");
    refused!(store.list(&path("/none")?).await, VfsError::NotFound(_), "what is not there is not listed");
    let removal = store.remove_tree(&folder, &Ended::default()).await;
    said(removal.outcome)?;
    rule!(removal.bytes == 40, "removing a tree says how many bytes it gave back");
    Ok(())
}

async fn renaming(store: &dyn Backend) -> Result<(), Broken> {
    for (name, bytes) in [("/a", b"a".as_slice()), ("/b", b"bb")] {
        publish(filled(store, name, bytes).await?, Overwrite::Refuse).await?;
    }
    for folder in ["/d", "/e"] {
        said(store.make_folder(&path(folder)?).await)?;
    }
    publish(filled(store, "/e/f", b"f").await?, Overwrite::Refuse).await?;
    let (a, b, d, e) = (path("/a")?, path("/b")?, path("/d")?, path("/e")?);
    if !store.capabilities().rename {
        for (from, to) in [(&a, &b), (&e, &path("/g")?)] {
            refused!(
                store.rename(from, to, Overwrite::Replace).await,
                VfsError::Impossible { .. },
                "a store without renames says so"
            );
        }
        rule!(read(store, "/b").await? == b"bb", "a rename that is refused changes nothing");
        for name in [&a, &b] {
            said(store.remove_file(name).await)?;
        }
        said(store.remove_folder(&d).await.outcome)?;
        return said(store.remove_tree(&e, &Ended::default()).await.outcome);
    }
    refused!(
        store.rename(&a, &b, Overwrite::Refuse).await,
        VfsError::Exists(_),
        "a rename that may not replace is refused"
    );
    refused!(
        store.rename(&path("/x")?, &b, Overwrite::Replace).await,
        VfsError::NotFound(_),
        "what is not there is not renamed"
    );
    refused!(
        store.rename(&d, &e, Overwrite::Replace).await,
        VfsError::NotEmpty(_),
        "a folder that is not empty is not replaced"
    );
    rule!(said(store.rename(&a, &b, Overwrite::Replace).await)? == Some(2), "a rename says how many bytes it replaced");
    rule!(read(store, "/b").await? == b"a", "a renamed file has its bytes");
    rule!(
        said(store.rename(&e, &path("/g")?, Overwrite::Refuse).await)?.is_none(),
        "a rename to a new name replaces nothing"
    );
    rule!(read(store, "/g/f").await? == b"f", "a renamed folder has what is in it");
    rule!(
        store.rename(&path("/g")?, &path("/g/h")?, Overwrite::Refuse).await.is_err(),
        "a folder is not renamed into itself"
    );
    said(store.remove_file(&b).await)?;
    said(store.remove_folder(&d).await.outcome)?;
    said(store.remove_tree(&path("/g")?, &Ended::default()).await.outcome)
}

async fn removing(store: &dyn Backend) -> Result<(), Broken> {
    let folder = path("/d")?;
    said(store.make_folder(&folder).await)?;
    refused!(store.make_folder(&folder).await, VfsError::Exists(_), "a folder is made once");
    refused!(store.make_folder(&path("/none/d")?).await, VfsError::NotFound(_), "a folder needs its folder");
    publish(filled(store, "/d/f", b"f").await?, Overwrite::Refuse).await?;
    refused!(
        store.remove_folder(&folder).await.outcome,
        VfsError::NotEmpty(_),
        "a folder that is not empty is not removed"
    );
    refused!(store.remove_file(&folder).await, VfsError::IsFolder(_), "a folder is not removed as a file");
    refused!(
        store.remove_folder(&path("/d/f")?).await.outcome,
        VfsError::NotFolder(_),
        "a file is not removed as a folder"
    );
    refused!(store.remove_file(&path("/d/x")?).await, VfsError::NotFound(_), "what is not there is not removed");
    refused!(store.open(&folder).await, VfsError::IsFolder(_), "a folder is not opened as a file");
    refused!(store.open(&path("/d/f/x")?).await, VfsError::NotFound(_), "nothing is below a file");
    said(store.remove_tree(&folder, &Ended::default()).await.outcome)
}

async fn counting_and_sweeping(store: &dyn Backend) -> Result<(), Broken> {
    let (alice, bob) = (key("alice", "/f")?, key("bob", "/g")?);
    said(store.make_folder(&path("/d")?).await)?;
    publish(filled(store, "/d/f", b"12345").await?, Overwrite::Refuse).await?;
    let live = filled(store, "/d/live", b"123").await?;
    filled(store, "/f", b"12").await?.keep(&alice, 2).ok_or("a store keeps partials")?;
    filled(store, "/g", b"1").await?.keep(&bob, 1).ok_or("a store keeps partials")?;
    let found = said(store.partials(alice.owner_tag()).await)?;
    rule!(
        found.iter().map(|partial| partial.bytes).collect::<Vec<_>>() == [2],
        "one's own partials are told, and no others"
    );
    said(store.sync_folder_of(&path("/f")?).await)?;
    let usage = said(store.usage(alice.owner_tag(), &[]).await)?;
    rule!(usage.bytes == 5, "committed bytes are counted, and staged ones are not");
    rule!(usage.partials.iter().map(|partial| partial.bytes).sum::<u64>() == 2, "one's own partials are counted");
    let folder = said(store.metadata(&path("/d")?).await)?.unique;
    rule!(said(store.usage(alice.owner_tag(), &[folder]).await)?.bytes == 0, "a folder to be left out is not counted");
    rule!(store.sweep(LONG).await.is_empty(), "partials stay for their time");
    let swept = store.sweep(Duration::ZERO).await;
    rule!(
        swept.len() == 2 && swept.iter().any(|partial| partial.owner == alice.owner_tag()),
        "old partials are swept and told"
    );
    rule!(said(store.partial(&path("/f")?, &alice).await)?.is_none(), "a swept partial is gone");
    publish(live, Overwrite::Refuse).await?;
    said(store.remove_tree(&path("/d")?, &Ended::default()).await.outcome)
}

async fn patching(store: &dyn Backend) -> Result<(), Broken> {
    let name = path("/f")?;
    publish(filled(store, "/f", b"0123456789").await?, Overwrite::Refuse).await?;
    if store.capabilities().patch {
        let before = said(store.metadata(&name).await)?;
        let mut patch = said(store.patch(&name, false).await)?;
        said(patch.write_at(2, b"ab").await)?;
        rule!(read(store, "/f").await? == b"01ab456789", "a patch writes in place");
        said(patch.settle().await)?;
        let published = publish(patch, Overwrite::Replace).await?;
        rule!(published.metadata.etag != before.etag, "a patched file has another validator");
        let mut append = said(store.patch(&name, true).await)?;
        said(append.write_at(0, b"!").await)?;
        rule!(append.keep(&key("alice", "/f")?, 1).is_none(), "a patch leaves no partial");
        rule!(
            read(store, "/f").await? == b"01ab456789!",
            "an append goes to the end, and its abort takes nothing back"
        );
        refused!(store.patch(&path("/none")?, false).await, VfsError::NotFound(_), "what is not there is not patched");
    } else {
        refused!(store.patch(&name, false).await, VfsError::Unsupported(_), "a store without patches says so");
    }
    said(store.remove_file(&name).await)?;
    Ok(())
}

async fn extras(store: &dyn Backend) -> Result<(), Broken> {
    let name = path("/f")?;
    publish(filled(store, "/f", b"x").await?, Overwrite::Refuse).await?;
    rule!(said(store.resolve(&name, LastLink::Follow))? == name, "a path without links is itself");
    if store.capabilities().properties {
        match store.set_properties(&name, b"blob").await {
            Ok(()) => {
                rule!(said(store.properties(&name).await)? == b"blob", "properties are kept");
                publish(settled(filled(store, "/f", b"y").await?).await?, Overwrite::Replace).await?;
                rule!(said(store.properties(&name).await)? == b"blob", "properties stay when the file is replaced");
                said(store.set_properties(&name, b"").await)?;
                rule!(said(store.properties(&name).await)?.is_empty(), "empty properties are none");
            }
            Err(VfsError::Unsupported(_)) => {}
            Err(error) => return Err(format!("properties are kept or refused as unsupported, and not: {error}")),
        }
    }
    if store.capabilities().links {
        let link = path("/link")?;
        said(store.symlink(b"f", &link).await)?;
        rule!(said(store.metadata(&link).await)?.kind == Kind::Link, "a link is answered as a link");
        refused!(store.open(&link).await, VfsError::ThroughLink(_), "a store follows no link by itself");
        rule!(said(store.resolve(&link, LastLink::Follow))? == name, "a link leads where it points");
        rule!(said(store.resolve(&link, LastLink::Keep))? == link, "a link can be looked at itself");
        rule!(said(store.hard_link(&name, &path("/hard")?).await)? == 1, "a second name says how many bytes it has");
        said(store.remove_file(&path("/hard")?).await)?;
        said(store.remove_file(&link).await)?;
    } else {
        refused!(store.symlink(b"f", &path("/link")?).await, VfsError::Unsupported(_), "a store without links says so");
    }
    rule!(said(store.space(&name).await)?.name_max > 0, "a store says how much room it has");
    said(store.remove_file(&name).await)?;
    Ok(())
}

fn path(text: &str) -> Result<VPath, Broken> {
    VPath::parse(text).map_err(|error| error.to_string())
}

fn key(owner: &str, name: &str) -> Result<PartialKey, Broken> {
    let owner = UserName::new(owner).map_err(|error| error.to_string())?;
    Ok(PartialKey::of_name(&owner, &path(name)?))
}

fn said<T>(outcome: Result<T, VfsError>) -> Result<T, Broken> {
    outcome.map_err(|error| format!("what should work does not: {error} ({error:?})"))
}

async fn filled(store: &dyn Backend, name: &str, bytes: &[u8]) -> Result<Box<dyn StagedFile>, Broken> {
    let mut staged = said(store.stage(&path(name)?).await)?;
    said(staged.write_at(0, bytes).await)?;
    Ok(staged)
}

async fn settled(mut staged: Box<dyn StagedFile>) -> Result<Box<dyn StagedFile>, Broken> {
    said(staged.settle().await)?;
    Ok(staged)
}

async fn publish_raw(mut staged: Box<dyn StagedFile>, overwrite: Overwrite) -> Result<Published, VfsError> {
    staged.settle().await?;
    staged.publish(overwrite).await
}

async fn publish(staged: Box<dyn StagedFile>, overwrite: Overwrite) -> Result<Published, Broken> {
    said(publish_raw(staged, overwrite).await)
}

async fn all_of(file: &dyn OpenFile) -> Result<Vec<u8>, Broken> {
    let mut bytes = vec![0; 4096];
    let got = said(file.read_at(0, &mut bytes).await)?;
    bytes.truncate(got);
    rule!(said(file.read_at(got as u64 + 1000, &mut [0; 8]).await)? == 0, "past the end there is nothing to read");
    Ok(bytes)
}

async fn read(store: &dyn Backend, name: &str) -> Result<Vec<u8>, Broken> {
    all_of(said(store.open(&path(name)?).await)?.as_ref()).await
}

async fn rows(store: &dyn Backend, folder: &str) -> Result<Vec<Entry>, Broken> {
    let mut listing = said(store.list(&path(folder)?).await)?;
    let mut all = Vec::new();
    loop {
        let rows = said(listing.next_rows(7).await)?;
        rule!(rows.len() <= 7, "a listing gives no more rows than asked for");
        if rows.is_empty() {
            return Ok(all);
        }
        all.extend(rows);
    }
}
