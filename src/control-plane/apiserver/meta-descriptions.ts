/** What the fields of every object's metadata mean: what `kubectl explain` shows of them. In our own words. */
export const metaDescriptions: Readonly<Record<string, string>> = {
  annotations:
    "Annotations are notes of tools and people about the object: text by name, not to be selected by.",
  creationTimestamp:
    "CreationTimestamp is a timestamp: when the server created the object. Read-only; null in lists.",
  deletionGracePeriodSeconds:
    "DeletionGracePeriodSeconds is how long the object may take to end once its deletion has begun. Read-only; it may only be shortened.",
  deletionTimestamp:
    "DeletionTimestamp is when the object is to be gone: set by the server when somebody asks for a graceful deletion, never taken back. Read-only.",
  finalizers:
    "Finalizers name those who have something to do before the object goes: it is removed when the list is empty. They act in any order.",
  generateName:
    "GenerateName is the beginning of a name that the server makes unique, used only where no name is given.",
  generation: "Generation counts the changes of what is wanted of the object. Read-only.",
  labels:
    "Labels are pairs of names and values that describe the object; selectors of controllers and services choose by them.",
  managedFields:
    "ManagedFields says which manager set which fields, by version: bookkeeping of the server for applied configurations.",
  name: "Name is the object's name, one of its kind in its namespace. It cannot be changed.",
  namespace:
    "Namespace is the space within which the name is unique; kinds of the whole cluster leave it empty. It cannot be changed.",
  ownerReferences:
    "OwnerReferences are the objects that this one depends on: when all are gone, it is deleted. At most one of them is its controller.",
  resourceVersion:
    "ResourceVersion is the server's mark of this state of the object, for watches and for writes that must not overtake others. Read-only.",
  selfLink: "SelfLink was the object's address; servers leave it empty.",
  uid: "UID tells this object from all others that ever had its name. Read-only.",
};
