//! Policies of services: what an operator says about all endpoints of a name.

use std::sync::Arc;

use hermes_core::command::Command;
use hermes_core::wire::request::{policy_json, read_policy_under};
use hyper::body::Incoming;

use super::error::Failure;
use super::read::known;
use super::reply::Reply;
use super::{Call, body};

impl Call<'_> {
    /// `GET /api/v1/services/{name}/policy`
    pub(super) async fn policy(&mut self, name: &str) -> Result<Reply, Failure> {
        let namespace = self.namespace()?;
        let key = self.poll_service(&namespace, name).await?;
        self.end_of_query(&["namespace", "revision", "wait"])?;
        let catalog = self.api.engine.catalog();
        let view = known(&catalog, &namespace, name, key)?;
        let etag = self.api.head.etag(view.revision);
        if self.is_current(&etag) {
            return Ok(Reply::not_modified(catalog.revision(), etag));
        }
        Ok(Reply {
            etag: Some(etag),
            ..Reply::of(catalog.revision(), &policy_json(&view.policy))
        })
    }

    /// `PUT /api/v1/services/{name}/policy`: in the place of the one before. `{}` takes it away.
    pub(super) async fn put_policy(
        &mut self,
        name: &str,
        body: Incoming,
    ) -> Result<Reply, Failure> {
        let service = self.service_key(name)?;
        self.end_of_query(&["namespace"])?;
        let policy = Arc::new(read_policy_under(
            &self.body(body, body::JSON).await?,
            self.rules(),
        )?);
        let json = policy_json(&policy);
        let outcome = self.submit(Command::SetPolicy { service, policy }).await?;
        Ok(Reply::of(outcome.catalog.revision(), &json))
    }
}
