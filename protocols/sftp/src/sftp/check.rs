//! `check-file-name` and `check-file-handle`: digests of stored files (draft-ietf-secsh-filexfer-extensions-00 section 3).
//!
//! Summing a large file takes minutes, so it is done beside the channel: other requests are answered meanwhile, and the reply goes
//! out when it is known. Only of a file that is being written the sum is taken in turn, as a write before it must be in it.
//! Paramiko asks for `check-file` with a handle, and wants that word in front of the reply; it is answered in its own form.
//!
//! Never: sums without the right to read (what is summed was opened through the tree), or more than the reply has room for.

use super::{
    Answer, Engine, Fault, No, Outlet,
    fields::{Fields, Malformed, Packet},
    handles::{Handle, Handles, Open, Writer, number},
    kind,
    names::read_path,
    status::{Code, Failure},
};
use futures_util::future::BoxFuture;
use lockgate_access::Doing;
use lockgate_model::VPath;
use lockgate_vfs::{Digest, FileReader, Readable, Sum, VfsError, summed};
use std::{ops::ControlFlow, sync::Arc};
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The digests by their names in the draft.
const NAMES: [(&[u8], Digest); 7] = [
    (b"sha256", Digest::Sha256),
    (b"sha512", Digest::Sha512),
    (b"sha384", Digest::Sha384),
    (b"sha224", Digest::Sha224),
    (b"sha1", Digest::Sha1),
    (b"md5", Digest::Md5),
    (b"crc32", Digest::Crc32),
];
/// The smallest block with a sum of its own: the draft's number.
const SMALLEST_BLOCK: u32 = 256;
/// Blocks of one reply: with the longest sums it is a packet that every client must take (34,000 bytes).
pub(super) const MOST_BLOCKS: u64 = 512;
/// Files of one channel that are summed at the same time. Each takes a buffer.
const AT_A_TIME: usize = 2;
/// Requests of one channel whose replies are still to come: as many replies are held at most for a client that does not read.
pub(super) const MOST_CHECKS: usize = 64;

/// Sends a packet some time later.
pub(crate) type Later = Box<dyn FnOnce(Vec<u8>) -> BoxFuture<'static, ()> + Send>;

/// The sums of one channel that are under way. Dropped, they end.
pub(super) struct Checks {
    cord: CancellationToken,
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    _cut: DropGuard,
}

impl Checks {
    /// None yet; they end with `cord` too.
    pub(super) fn new(cord: &CancellationToken) -> Self {
        let cord = cord.child_token();
        Self {
            cord: cord.clone(),
            places: Arc::new(Semaphore::new(MOST_CHECKS)),
            turns: Arc::new(Semaphore::new(AT_A_TIME)),
            _cut: cord.drop_guard(),
        }
    }
}

/// What a request is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Name,
    Handle,
    /// By handle, in the form that Paramiko has for it.
    Paramiko,
}

impl By {
    /// Reads the name of an extension; `None` where it is another.
    fn read(fields: &mut Fields<'_>) -> Result<Option<Self>, Malformed> {
        Ok(match fields.string()? {
            b"check-file-name" => Some(Self::Name),
            b"check-file-handle" => Some(Self::Handle),
            b"check-file" => Some(Self::Paramiko),
            _ => None,
        })
    }
}

/// The sums that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Order {
    name: &'static [u8],
    digest: Digest,
    from: u64,
    /// 0: to the end.
    length: u64,
    /// 0: all in one.
    block: u32,
}

/// An order for a file of a known length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    from: u64,
    to: u64,
    block: u64,
    count: u64,
}

impl Order {
    /// Reads what follows name or handle. Of the client's list the first digest that is known counts.
    fn read(fields: &mut Fields<'_>) -> Result<Self, No> {
        let wishes = fields.string()?;
        let (from, length, block) = (fields.u64()?, fields.u64()?, fields.u32()?);
        let known = wishes.split(|byte| *byte == b',').find_map(|wish| NAMES.iter().find(|known| known.0 == wish));
        let (name, digest) = *known.ok_or_else(|| Failure::because("none of these digests is known: try sha256"))?;
        if block != 0 && block < SMALLEST_BLOCK {
            return Err(Failure::because("a block has 256 bytes or more, or 0 for all in one").into());
        }
        Ok(Self { name, digest, from, length, block })
    }

    fn plan(&self, size: u64) -> Result<Plan, Failure> {
        let left = size.checked_sub(self.from);
        let left = left.ok_or_else(|| Failure::new(Code::Eof, "the file ends before the part that is asked for"))?;
        let length = if self.length == 0 { left } else { left.min(self.length) };
        let (block, count) = match u64::from(self.block) {
            0 => (length, 1),
            block => (block, length.div_ceil(block)),
        };
        if count > MOST_BLOCKS {
            return Err(Failure::because(format!(
                "{count} blocks are too many for one answer, which has {MOST_BLOCKS} at most: ask for larger blocks or a shorter part"
            )));
        }
        Ok(Plan { from: self.from, to: self.from.saturating_add(length), block, count })
    }

    /// Bytes of the reply, roughly: for what is still to be sent.
    fn reply_length(&self, plan: Plan) -> usize {
        64 + self.digest.length().saturating_mul(usize::try_from(plan.count).unwrap_or(usize::MAX))
    }

    /// The reply, once the bytes are summed.
    async fn answer(
        &self,
        id: u32,
        by: By,
        plan: Plan,
        source: Readable<'_>,
        doing: &Doing,
        cord: &CancellationToken,
    ) -> Result<Vec<u8>, VfsError> {
        let mut sums = Vec::new();
        let mut at = plan.from;
        for _ in 0..plan.count {
            let end = at.saturating_add(plan.block).min(plan.to);
            let step = |bytes| {
                doing.moved(bytes);
                if cord.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let (summed, reached) = summed(source, at..end, vec![Sum::new(self.digest)], step).await?;
            // The file became shorter under us: better no sum than one of something else.
            if reached < end {
                return Err(VfsError::Interrupted);
            }
            sums.extend(summed.into_iter().flat_map(Sum::finish));
            at = end;
        }
        let reply = Packet::answer(kind::EXTENDED_REPLY, id);
        let reply = if by == By::Paramiko { reply.string(b"check-file") } else { reply };
        Ok(reply.string(self.name).raw(&sums).finish())
    }
}

/// How a request goes on.
enum Begun {
    /// Answered.
    Done(Vec<u8>),
    /// To be summed beside the channel.
    Beside { file: Arc<FileReader>, path: VPath, by: By, order: Order, plan: Plan },
}

/// Whether a request is one of these. One that cannot be read is told apart later.
pub(super) fn is_check(fields: Fields<'_>) -> bool {
    By::read(&mut { fields }).is_ok_and(|by| by.is_some())
}

/// The handle that a request of these is about.
pub(super) fn handle_of(mut fields: Fields<'_>) -> Result<Option<u32>, Malformed> {
    Ok(match By::read(&mut fields)? {
        Some(By::Handle | By::Paramiko) => number(fields.string()?),
        Some(By::Name) | None => None,
    })
}

impl Engine {
    /// Takes a request of these; the reply may come later.
    pub(super) async fn check(&mut self, id: u32, fields: &mut Fields<'_>, out: &mut impl Outlet) -> Result<(), Fault> {
        let answer = match self.begin_check(id, fields).await {
            Ok(Begun::Done(reply)) => Ok(reply),
            Ok(Begun::Beside { file, path, by, order, plan }) => {
                // Room in the window is taken now, since nothing counts the reply once it is ready.
                if !self.flow.may_owe(order.reply_length(plan), out.is_waiting()) {
                    return Err(Fault::TooMuchWaiting);
                }
                let doing = self.handles.begin("HASH", &path);
                match self.check_beside(id, (by, order, plan), file, doing, out.later()) {
                    Ok(()) => {
                        self.flow.sent(order.reply_length(plan), out.is_waiting());
                        return Ok(());
                    }
                    Err(failure) => Err(No::Refused(failure)),
                }
            }
            Err(no) => Err(no),
        };
        match answer {
            Ok(reply) => self.send_short(reply, out),
            Err(No::Refused(failure)) => self.send_short(failure.packet(id), out),
            Err(No::Malformed) => Err(Malformed.into()),
        }
    }

    /// The same for one that has waited: here and now.
    pub(super) async fn check_in_turn(&mut self, id: u32, fields: &mut Fields<'_>) -> Answer {
        match self.begin_check(id, fields).await? {
            Begun::Done(reply) => Ok(reply),
            Begun::Beside { file, path, by, order, plan } => {
                let doing = self.handles.begin("HASH", &path);
                Ok(order.answer(id, by, plan, Readable::File(&file), &doing, &self.checks.cord).await?)
            }
        }
    }

    async fn begin_check(&mut self, id: u32, fields: &mut Fields<'_>) -> Result<Begun, No> {
        let by = By::read(fields)?.ok_or_else(Failure::unsupported)?;
        if by == By::Name {
            let path = read_path(fields)?;
            let order = Order::read(fields)?;
            let file = Arc::new(self.vfs.open(&path).await?);
            let plan = order.plan(file.metadata().size)?;
            return Ok(Begun::Beside { file, path, by, order, plan });
        }
        let number = number(fields.string()?);
        let order = Order::read(fields)?;
        let handle = number.and_then(|number| self.handles.get(number)).ok_or_else(Failure::bad_handle)?;
        let Handle { open, path, doing, .. } = handle;
        match open {
            Open::Reader(file) => {
                let plan = order.plan(file.metadata().size)?;
                Ok(Begun::Beside { file: Arc::clone(file), path: path.clone(), by, order, plan })
            }
            Open::Writer(Writer { failure: Some(failure), .. }) => Err(failure.clone().into()),
            Open::Writer(Writer { readable: true, upload: Some(upload), .. }) => {
                let plan = order.plan(upload.len())?;
                let source = Readable::Upload(upload);
                Ok(Begun::Done(order.answer(id, by, plan, source, doing, &self.checks.cord).await?))
            }
            Open::Writer(_) | Open::Folder(_) => Err(Failure::bad_handle().into()),
        }
    }

    fn check_beside(
        &self,
        id: u32,
        (by, order, plan): (By, Order, Plan),
        file: Arc<FileReader>,
        doing: Doing,
        later: Later,
    ) -> Result<(), Failure> {
        let job = Handles::place(&self.work)?;
        let place = Arc::clone(&self.checks.places).try_acquire_owned();
        let place = place.map_err(|_| Failure::because("too many digests are under way: wait for some first"))?;
        let (turns, cord) = (Arc::clone(&self.checks.turns), self.checks.cord.clone());
        tokio::spawn(async move {
            let _under_way = (job, place);
            let work = async {
                let Ok(_turn) = turns.acquire().await else { return };
                let answer = order.answer(id, by, plan, Readable::File(&file), &doing, &cord).await;
                later(answer.unwrap_or_else(|error| Failure::from(error).packet(id))).await;
            };
            tokio::select! {
                () = cord.cancelled() => {}
                () = work => {}
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    fn order(wishes: &[u8], from: u64, length: u64, block: u32) -> Result<Order, Failure> {
        let bytes = Packet::of(0).string(wishes).u64(from).u64(length).u32(block).finish();
        Order::read(&mut Fields::of(&bytes[5..])).map_err(|no| match no {
            No::Refused(failure) => failure,
            No::Malformed => panic!("malformed"),
        })
    }

    #[test]
    fn the_first_digest_that_is_known_is_taken() {
        assert_eq!(order(b"whirlpool,sha1,sha256", 0, 0, 0).unwrap().digest, Digest::Sha1);
        for none in [&b""[..], b"whirlpool", b"SHA1", b"sha1 ,x"] {
            assert_eq!(order(none, 0, 0, 0).unwrap_err().code, Code::Failure);
        }
    }

    #[test]
    fn blocks_are_of_256_bytes_or_more_and_as_many_as_a_packet_holds() {
        assert!(order(b"md5", 0, 0, 255).is_err());
        let order = order(b"sha512", 0, 0, 256).unwrap();
        let plan = order.plan(256 * MOST_BLOCKS).unwrap();
        assert!(plan.count == MOST_BLOCKS && order.reply_length(plan) < 34_000);
        assert!(order.plan(256 * MOST_BLOCKS + 1).is_err());
    }

    #[test]
    fn the_length_of_each_sum_is_what_the_room_for_the_reply_is_counted_by() {
        for (name, digest) in NAMES {
            assert_eq!(Sum::new(digest).finish().len(), digest.length(), "{}", String::from_utf8_lossy(name));
        }
    }

    proptest! {
        #[test]
        fn a_plan_stays_in_the_file_and_covers_what_is_asked_for(
            from: u64, length: u64, block: u32, size: u64, shift in 0_u32..64,
        ) {
            let (from, length, size) = (from >> shift, length >> shift, size >> shift);
            if let Ok(order) = order(b"md5", from, length, block) && let Ok(plan) = order.plan(size) {
                let wanted = if length == 0 { size } else { from.saturating_add(length).min(size) };
                prop_assert_eq!((plan.from, plan.to), (from, wanted));
                prop_assert!(plan.count <= MOST_BLOCKS);
                let covered = u128::from(plan.count) * u128::from(plan.block);
                prop_assert!(covered >= u128::from(plan.to - plan.from));
            }
        }

        #[test]
        fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..80)) {
            let fields = Fields::of(&bytes);
            let _ = is_check(fields);
            let _ = handle_of(fields);
            let _ = Order::read(&mut { fields });
        }
    }
}
