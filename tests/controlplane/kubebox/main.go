// Command kubebox is the control plane of a Kubernetes cluster on one machine, in one binary: the first argument
// names the program, the rest are its own flags. Called by another name, through a link, it is that program.
//
// One binary instead of one per program, because they share nearly all of their code: it links once and takes a third
// of the space. Only the chosen program's command is built, so flags and feature gates do not meet.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/server/v3/etcdmain"
	_ "k8s.io/client-go/plugin/pkg/client/auth"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	"k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
)

const usage = "usage: kubebox etcd|kube-apiserver|kubectl [flags]"

func main() {
	if filepath.Base(os.Args[0]) == "kubebox" {
		os.Args = os.Args[1:]
	}
	if len(os.Args) == 0 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	switch name := filepath.Base(os.Args[0]); name {
	case "etcd":
		etcdmain.Main(os.Args)
	case "kube-apiserver":
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	case "kubectl":
		if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
			kubectlutil.CheckErr(err)
		}
	default:
		fmt.Fprintf(os.Stderr, "kubebox: no program %q\n%s\n", name, usage)
		os.Exit(2)
	}
}
