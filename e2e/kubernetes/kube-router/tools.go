//go:build tools

// Package tools names the command that build.sh builds, so that `go mod tidy` keeps its modules.
package tools

import _ "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"
