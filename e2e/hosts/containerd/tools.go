//go:build tools

// Package tools names the commands that e2e/hosts/build.sh builds, so that `go mod tidy` keeps their modules.
package tools

import (
	_ "github.com/containerd/containerd/cmd/containerd"
	_ "github.com/containerd/containerd/cmd/containerd-shim-runc-v2"
	_ "github.com/containerd/containerd/cmd/ctr"
)
