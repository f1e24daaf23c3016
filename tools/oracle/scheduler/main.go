// The scheduling oracle: upstream's own scheduler framework, with the default profile, over a snapshot of a small cluster. Reads clusters,
// one JSON object a line ({"id", "pod", "nodes", "pods", "nominated", "objects"}), and writes what the framework says of the pending Pod,
// one JSON object a line: a status for each node, the weighted scores of those that fit, the message of a failed attempt, and the node and
// the victims that preemption chooses. Nothing is interpreted here: comparing is the suite's.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"log"
	"os"
	"sort"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	internalcache "k8s.io/kubernetes/pkg/scheduler/backend/cache"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/defaultpreemption"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/feature"
	"k8s.io/kubernetes/pkg/scheduler/framework/preemption"
)

type cluster struct {
	ID    string     `json:"id"`
	Pod   *v1.Pod    `json:"pod"`
	Nodes []*v1.Node `json:"nodes"`
	// Running on a node, or waiting for the node that is their nomination.
	Pods      []*v1.Pod `json:"pods"`
	Nominated []*v1.Pod `json:"nominated"`
	// Namespaces, Services, budgets and the like.
	Objects []json.RawMessage `json:"objects"`
}

type answer struct {
	ID string `json:"id"`
	// Why not, by node; "" for those that fit. A "!" in front: removing Pods would not help.
	Nodes map[string][]string `json:"nodes,omitempty"`
	// What a prefilter says of all of them.
	PreFilter []string `json:"preFilter,omitempty"`
	// Weighted, by plugin and node.
	Scores map[string]map[string]int64 `json:"scores,omitempty"`
	// As the event says it.
	Message   string   `json:"message,omitempty"`
	Nominated *string  `json:"nominated,omitempty"`
	Victims   []string `json:"victims,omitempty"`
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func statusWords(status *fwk.Status) []string {
	if status.IsSuccess() {
		return []string{}
	}
	words := append([]string{}, status.Reasons()...)
	if status.Code() == fwk.UnschedulableAndUnresolvable {
		words = append([]string{"!"}, words...)
	}
	return words
}

func ask(one cluster) answer {
	ctx, cancel := context.WithCancel(klog.NewContext(context.Background(), klog.TODO()))
	defer cancel()
	objects := []runtime.Object{one.Pod}
	for _, raw := range one.Objects {
		object, _, err := clientscheme.Codecs.UniversalDeserializer().Decode(raw, nil, nil)
		must(err)
		objects = append(objects, object)
	}
	for _, pod := range append(append([]*v1.Pod{}, one.Pods...), one.Nominated...) {
		objects = append(objects, pod)
	}
	for _, node := range one.Nodes {
		objects = append(objects, node)
	}
	client := fake.NewClientset(objects...)
	factory := informers.NewSharedInformerFactory(client, 0)
	recorder := func(string) events.EventRecorderLogger { return &events.FakeRecorder{} }
	snapshot := internalcache.NewSnapshot(one.Pods, one.Nodes)
	sched, err := scheduler.New(ctx, client, factory, nil, recorder, scheduler.WithNodeInfoSnapshot(snapshot))
	must(err)
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	must(sched.WaitForHandlersSync(ctx))
	profile := sched.Profiles["default-scheduler"]
	said := answer{ID: one.ID, Nodes: map[string][]string{}}

	info, err := framework.NewPodInfo(one.Pod)
	must(err)
	state := framework.NewCycleState()
	only, status, _ := profile.RunPreFilterPlugins(ctx, state, one.Pod)
	if !status.IsSuccess() {
		said.PreFilter = statusWords(status)
	} else {
		feasible := []fwk.NodeInfo{}
		for _, node := range one.Nodes {
			if only != nil && !only.AllNodes() && !only.NodeNames.Has(node.Name) {
				continue
			}
			nodeInfo, err := snapshot.Get(node.Name)
			must(err)
			status := profile.RunFilterPluginsWithNominatedPods(ctx, state, one.Pod, nodeInfo)
			said.Nodes[node.Name] = statusWords(status)
			if status.IsSuccess() {
				feasible = append(feasible, nodeInfo)
			}
		}
		if len(feasible) > 0 {
			must(profile.RunPreScorePlugins(ctx, state, one.Pod, feasible).AsError())
			scores, status := profile.RunScorePlugins(ctx, state, one.Pod, feasible)
			must(status.AsError())
			said.Scores = map[string]map[string]int64{}
			for _, node := range scores {
				for _, score := range node.Scores {
					if said.Scores[score.Name] == nil {
						said.Scores[score.Name] = map[string]int64{}
					}
					said.Scores[score.Name][node.Name] = score.Score
				}
			}
			return said
		}
	}

	state = framework.NewCycleState()
	_, err = sched.SchedulePod(ctx, profile, state, &framework.QueuedPodInfo{PodInfo: info})
	fitError, isFitError := err.(*framework.FitError)
	if !isFitError {
		said.Message = err.Error()
		return said
	}
	features := feature.NewSchedulerFeaturesFromGates(utilfeature.DefaultFeatureGate)
	features.EnableAsyncPreemption = false
	args := &config.DefaultPreemptionArgs{MinCandidateNodesPercentage: 10, MinCandidateNodesAbsolute: 100}
	plugin, err := defaultpreemption.New(ctx, args, profile, features)
	must(err)
	victims := make(chan string, 1000)
	plugin.Executor.PreemptPod = func(_ context.Context, _ preemption.Candidate, _ preemption.ExecutorPreemptor, victim *v1.Pod, _ string) (bool, error) {
		victims <- victim.Namespace + "/" + victim.Name
		return false, nil
	}
	result, _ := plugin.PostFilter(ctx, state, one.Pod, fitError.Diagnosis.NodeToStatus)
	close(victims)
	for victim := range victims {
		said.Victims = append(said.Victims, victim)
	}
	sort.Strings(said.Victims)
	// The words of all plugins.
	_, status = profile.RunPostFilterPlugins(ctx, state, one.Pod, fitError.Diagnosis.NodeToStatus)
	fitError.Diagnosis.PostFilterMsg = status.Message()
	said.Message = fitError.Error()
	if result != nil && result.NominatingInfo != nil {
		said.Nominated = &result.NominatedNodeName
	}
	return said
}

func main() {
	clusters := flag.String("clusters", "", "file with the clusters, one a line")
	answers := flag.String("answers", "", "file to write what the scheduler says of them")
	flag.Parse()
	klog.SetLogger(klog.Logger{})
	in, err := os.Open(*clusters)
	must(err)
	out, err := os.Create(*answers)
	must(err)
	write := json.NewEncoder(out)
	write.SetEscapeHTML(false)
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var one cluster
		must(json.Unmarshal(lines.Bytes(), &one))
		must(write.Encode(ask(one)))
	}
	must(lines.Err())
	must(out.Close())
}
