// Command control-plane is a real etcd, kube-apiserver and kube-controller-manager in one binary.
//
//	control-plane up DIRECTORY [--with-stdin]   all three, until a signal or (with the flag) the end of its stdin
//	control-plane compact DIRECTORY             makes the etcd behind DIRECTORY forget all versions but the newest
//	control-plane etcd | apiserver | controller-manager ...   one of the three; what "up" starts
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("usage: %s up DIRECTORY", filepath.Base(os.Args[0])))
	}
	name, arguments := os.Args[1], os.Args[2:]
	switch name {
	case "up":
		fail(up(arguments))
	case "compact":
		fail(compact(arguments))
	case "etcd":
		fail(serveEtcd(arguments))
	case "apiserver":
		command := apiserver.NewAPIServerCommand()
		command.SetArgs(arguments)
		os.Exit(cli.Run(command))
	case "controller-manager":
		command := controllers.NewControllerManagerCommand()
		command.SetArgs(arguments)
		os.Exit(cli.Run(command))
	default:
		fail(fmt.Errorf("no such command: %s", name))
	}
}

// fail ends the program: with what went wrong, or well.
func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "control-plane:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
