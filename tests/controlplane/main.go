// Command controlplane is a whole Kubernetes cluster in one program, for tests
// and the demo: etcd, kube-apiserver, kube-controller-manager, kubectl, helm and
// what a node needs from their own sources, a supervisor that owns them (`up`) and a
// leash for any other process (`guard`). Linux only (parent-death signals).
// It must never listen beyond loopback and never leave a process behind.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

const usage = `usage: controlplane COMMAND [ARGS]
  up --dir DIR [--rm]                              a control plane, until stdin ends
     [--node ADDRESS --node-cgroup NAME]           with a node for pods
  guard [--log FILE] [--pid-file FILE] -- CMD ...  CMD, until stdin ends
  etcd | kube-apiserver | kube-controller-manager | kube-scheduler | kube-proxy |
  kubelet | kubectl | helm                         the tool itself

A tool that is found in the folder $KUBEBUILDER_ASSETS is used instead of the
one built in.`

func init() {
	// A child's parent-death signal fires when the *thread* that started it
	// ends. Locked here, the main goroutine keeps the main thread, which lives
	// exactly as long as the process; children are started nowhere else.
	runtime.LockOSThread()
}

func main() {
	// Called by a tool's name (a link), the program is that tool.
	if tool, found := tools[filepath.Base(os.Args[0])]; found {
		runtime.UnlockOSThread()
		tool()
		return
	}
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	switch command := os.Args[1]; command {
	case "up":
		exit(up(os.Args[2:]))
	case "guard":
		exit(guard(os.Args[2:]))
	default:
		tool, found := tools[command]
		if !found {
			fmt.Fprintf(os.Stderr, "unknown command %q\n%s\n", command, usage)
			os.Exit(2)
		}
		os.Args = os.Args[1:]
		becomeAsset(command)
		runtime.UnlockOSThread()
		tool()
	}
}

// becomeAsset replaces this process by the tool of that name in
// KUBEBUILDER_ASSETS, envtest's convention, and returns when there is none.
// The parent-death signal survives the exec.
func becomeAsset(name string) {
	folder := os.Getenv("KUBEBUILDER_ASSETS")
	if folder == "" {
		return
	}
	path := filepath.Join(folder, name)
	if _, err := os.Stat(path); err != nil {
		return
	}
	os.Args[0] = path
	exit(1, fmt.Errorf("%s: %w", path, syscall.Exec(path, os.Args, os.Environ())))
}

// exit ends the process with a command's outcome.
func exit(code int, err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "controlplane:", err)
	}
	os.Exit(code)
}
