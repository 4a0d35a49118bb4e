//! Content-addressed artifacts: digests, manifests, the object store, publishing, verification and collection.

