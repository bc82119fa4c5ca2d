//go:build tools

// Package tools names the command that e2e/hosts/build.sh builds, so that `go mod tidy` keeps its modules.
package tools

import _ "k8s.io/kubernetes/cmd/kubelet"
