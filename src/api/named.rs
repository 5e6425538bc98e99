//! What an ARN of a request names.
//!
//! In:  an ARN of the right form. Out: the id or the stored resource, or `ResourceNotFoundException`: what is of
//! another region, account or form of id does not exist here.

use super::Sources;
use super::restjson::Error;
use crate::model::arn::{Arn, Resource};
use crate::model::{Channel, ChannelId, Document, DocumentKind, StreamKeyId};

impl Sources {
    /// What an ARN names, whether or not it exists.
    pub(super) fn resource(&self, arn: &str) -> Result<Resource, Error> {
        let resource = self.endpoints.scope().resource(arn);
        resource.ok_or_else(|| Error::not_found(arn))
    }

    /// The id of a channel.
    pub(super) fn channel_id(&self, arn: &str) -> Result<ChannelId, Error> {
        match self.resource(arn)? {
            Resource::Channel(id) => Ok(id),
            _ => Err(Error::not_found(arn)),
        }
    }

    /// An existing channel.
    pub(super) async fn channel(&self, arn: &str) -> Result<Channel, Error> {
        let id = self.channel_id(arn)?;
        let channel = self.repository.load_channel(&id).await?;
        channel.ok_or_else(|| Error::not_found(arn))
    }

    /// The id of a stream key.
    pub(super) fn stream_key_id(&self, arn: &str) -> Result<StreamKeyId, Error> {
        match self.resource(arn)? {
            Resource::StreamKey(id) => Ok(id),
            _ => Err(Error::not_found(arn)),
        }
    }

    /// An existing document of a kind.
    pub(super) async fn document(&self, kind: DocumentKind, arn: &str) -> Result<Document, Error> {
        let document = match self.resource(arn)? {
            Resource::Document(its, id) if its == kind => {
                self.repository.load_document(kind, &id).await?
            }
            _ => None,
        };
        document.ok_or_else(|| Error::not_found(arn))
    }

    /// Refuses a reference to what does not exist.
    pub(super) async fn check_reference(&self, arn: &str) -> Result<(), Error> {
        let is_mock = self.config.lenient_arns && arn.parse::<Arn>().is_err();
        if arn.is_empty() || is_mock {
            return Ok(());
        }
        match self.resource(arn)? {
            Resource::Document(kind, _) => self.document(kind, arn).await.map(drop),
            _ => Err(Error::not_found(arn)),
        }
    }
}
