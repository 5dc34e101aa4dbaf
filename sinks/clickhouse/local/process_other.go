//go:build !linux

package local

import "syscall"

func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func dieWithParent() *syscall.SysProcAttr { return nil }
