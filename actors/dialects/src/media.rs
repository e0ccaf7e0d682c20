//! What stands in a request besides text: pieces given inline, and names of things that the provider fetches or keeps.

use std::ops::Range;

use crate::invalid::Read;
use crate::json::{Cursor, Kind};
use crate::text::Text;

/// Pieces that are given inline, as base64.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Media {
    pub images: u32,
    pub documents: u32,
    pub audio: u32,
    /// Bytes of the body that all of them take.
    pub bytes: usize,
}

/// What a piece is charged as.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Image,
    Document,
    Audio,
}

/// What was found on a walk through the content of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Finds {
    pub(crate) media: Media,
    /// Where the inline pieces stand in the body, quotes included; ascending.
    pub(crate) inline: Vec<Range<usize>>,
    /// The bytes of the body bound nothing.
    pub(crate) unbounded: bool,
    /// The first name of something that the provider keeps.
    pub(crate) state: Option<&'static str>,
}

/// Keys that name what a provider keeps for somebody.
const KEPT: [(&[u8], &str); 14] = [
    (b"file_id", "file_id"),
    (b"file_ids", "file_ids"),
    (b"vector_store_id", "vector_store_ids"),
    (b"vector_store_ids", "vector_store_ids"),
    (b"container", "container"),
    (b"container_id", "container"),
    (b"skill_id", "skill_id"),
    (b"library_ids", "library_ids"),
    (b"document_id", "document_id"),
    (b"collection_ids", "collection_ids"),
    (b"memory_store_id", "memory_store_id"),
    (b"memory_store_ids", "memory_store_ids"),
    (b"previous_response_id", "previous_response_id"),
    (b"thread_id", "thread_id"),
];

impl Finds {
    /// Something that the provider keeps is named. What it holds, no byte of the body bounds.
    pub(crate) fn keeps(&mut self, field: &'static str) {
        self.unbounded = true;
        self.state.get_or_insert(field);
    }

    /// Takes a value that names something kept, unless it is null.
    pub(crate) fn kept(&mut self, c: &mut Cursor<'_>, field: &'static str) -> Read<()> {
        if c.kind()? != Kind::Null {
            self.keeps(field);
        }
        c.skip()
    }

    /// Takes a string that holds a piece in base64; anything but a string bounds nothing, unless it is null.
    pub(crate) fn inline(&mut self, c: &mut Cursor<'_>, piece: Piece) -> Read<()> {
        let kind = c.kind()?;
        let span = c.span()?;
        match kind {
            Kind::String => self.piece(piece, span),
            Kind::Null => {}
            _ => self.unbounded = true,
        }
        Ok(())
    }

    fn piece(&mut self, piece: Piece, span: Range<usize>) {
        let count = match piece {
            Piece::Image => &mut self.media.images,
            Piece::Document => &mut self.media.documents,
            Piece::Audio => &mut self.media.audio,
        };
        *count = count.saturating_add(1);
        self.media.bytes += span.len();
        self.inline.push(span);
    }

    /// Takes the URL of a piece: a `data:` URL is given inline, any other is fetched by the provider. Also takes `{"url": …}`.
    pub(crate) fn url(&mut self, c: &mut Cursor<'_>, piece: Piece) -> Read<()> {
        match c.kind()? {
            Kind::Object => c.object(|c, key| match &*key.bytes() {
                b"url" => self.url(c, piece),
                _ => self.deep(c),
            }),
            Kind::String => {
                let start = c.offset();
                let url = c.string()?.unwrap_or(Text::new(b"", false));
                match inline_piece(url, piece) {
                    Some(piece) => self.piece(piece, start..c.offset()),
                    None => self.unbounded = true,
                }
                Ok(())
            }
            Kind::Null => c.skip(),
            _ => {
                self.unbounded = true;
                c.skip()
            }
        }
    }

    /// Takes any value, looking for the keys of kept things at any depth.
    pub(crate) fn deep(&mut self, c: &mut Cursor<'_>) -> Read<()> {
        match c.kind()? {
            Kind::Object => c.object(|c, key| self.deep_member(c, key)),
            Kind::Array => c.array(|c| self.deep(c)),
            _ => c.skip(),
        }
    }

    fn deep_member(&mut self, c: &mut Cursor<'_>, key: Text<'_>) -> Read<()> {
        let bytes = key.bytes();
        let kept = KEPT.iter().find(|(name, _)| *name == &*bytes);
        match (kept, c.kind()?) {
            // {"container": {"type": "auto"}} names nothing by itself
            (Some((_, field)), Kind::String | Kind::Array) => self.kept(c, field),
            _ => self.deep(c),
        }
    }
}

/// What an inline URL holds; `None` if the provider has to fetch it, or if nothing bounds it (a film).
fn inline_piece(url: Text<'_>, piece: Piece) -> Option<Piece> {
    if !url.starts_with(b"data:") || url.starts_with(b"data:video") {
        return None;
    }
    Some(match piece {
        Piece::Document if url.starts_with(b"data:image/") => Piece::Image,
        Piece::Document if url.starts_with(b"data:audio/") => Piece::Audio,
        piece => piece,
    })
}
