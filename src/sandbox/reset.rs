//! A connection that can be reset from inside: what a stand-in's own reply cannot do.

use std::any::Any;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd as _;

use actix_web::dev::Extensions;

/// The way to a request's own connection.
pub(super) struct Line(TcpStream);

impl Line {
    /// Keeps a second handle on a connection that was just made.
    pub(super) fn keep(connection: &dyn Any, of_connection: &mut Extensions) {
        let stream = connection.downcast_ref::<actix_web::rt::net::TcpStream>();
        let handle = stream.and_then(|stream| stream.as_fd().try_clone_to_owned().ok());
        if let Some(handle) = handle {
            of_connection.insert(Self(TcpStream::from(handle)));
        }
    }

    /// Has the connection closed at once, with a reset instead of an end.
    pub(super) fn reset(&self) {
        let handle = self.0.try_clone().and_then(tokio::net::TcpStream::from_std);
        let set = handle.and_then(|handle| handle.set_zero_linger());
        // Nothing comes in any more, so the server closes it; one that is gone needs no reset.
        let _gone = set.and(self.0.shutdown(Shutdown::Read));
    }
}
