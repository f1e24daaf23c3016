// Package suite names what the module is there for: `go test -c k8s.io/kubernetes/test/e2e`.
package suite

import _ "k8s.io/kubernetes/test/e2e"
