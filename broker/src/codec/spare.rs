use std::cell::Cell;

/// A buffer that has grown larger is not kept.
const LARGEST: usize = 128 << 10;

/// So many are kept for a thread.
const MOST: usize = 4;

thread_local! {
    static SPARES: [Cell<Vec<u8>>; MOST] = const { [const { Cell::new(Vec::new()) }; MOST] };
}

/// An empty buffer for bytes on their way to a socket: a used one of this thread's, where there is one, so that a quiet
/// connection need not keep its own.
pub fn take() -> Vec<u8> {
    SPARES.with(|spares| spares.iter().map(Cell::take).find(|spare| spare.capacity() > 0)).unwrap_or_default()
}

/// Gives a buffer back for others.
pub fn give_back(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 || buffer.capacity() > LARGEST {
        return;
    }
    buffer.clear();
    SPARES.with(|spares| {
        for place in spares {
            let found = place.replace(std::mem::take(&mut buffer));
            if found.capacity() == 0 {
                return;
            }
            buffer = found;
        }
    });
}
