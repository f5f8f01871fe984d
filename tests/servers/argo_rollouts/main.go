// Command argo-rollouts-check checks Rollouts and AnalysisTemplates with the controller's own code, without a cluster.
//
//	argo-rollouts-check -f canary.yaml -f analysis.yaml
//	    decode strictly, validate as the controller does, and see that every analysis finds its templates and arguments
//	argo-rollouts-check -f … -run -hash 6c54544bf9 -arg prometheus=http://127.0.0.1:9090
//	    measure every Prometheus metric of every analysis once: the real provider, the real query, the real conditions
//
// It prints one JSON document: {"errors": […], "measurements": [{analysis, template, metric, value, phase, message}]}.
// Exit status 1: there are errors. A measurement that fails is none.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sirupsen/logrus"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/argoproj/argo-rollouts/metricproviders/prometheus"
	"github.com/argoproj/argo-rollouts/pkg/apis/rollouts/v1alpha1"
	"github.com/argoproj/argo-rollouts/pkg/apis/rollouts/validation"
	"github.com/argoproj/argo-rollouts/utils/analysis"
)

type texts []string

func (t *texts) String() string     { return strings.Join(*t, ",") }
func (t *texts) Set(s string) error { *t = append(*t, s); return nil }

type measurement struct {
	Analysis string `json:"analysis"`
	Template string `json:"template"`
	Metric   string `json:"metric"`
	Query    string `json:"query"`
	Value    string `json:"value"`
	Phase    string `json:"phase"`
	Message  string `json:"message,omitempty"`
}

type report struct {
	Errors       []string      `json:"errors"`
	Measurements []measurement `json:"measurements"`
}

func (r *report) fail(format string, values ...any) {
	r.Errors = append(r.Errors, fmt.Sprintf(format, values...))
}

type manifests struct {
	rollouts  []*v1alpha1.Rollout
	templates map[string]*v1alpha1.AnalysisTemplate
}

// use is one place where a Rollout names templates.
type use struct {
	name string
	kind validation.AnalysisTemplateType
	step int
	what *v1alpha1.RolloutAnalysis
}

func main() {
	var files, given texts
	flag.Var(&files, "f", "file with manifests")
	flag.Var(&given, "arg", "name=value: replaces an argument of the analyses")
	run := flag.Bool("run", false, "measure every Prometheus metric once")
	hash := flag.String("hash", "canary", "pod template hash of the canary")
	flag.Parse()
	logrus.SetOutput(io.Discard)

	out := report{Errors: []string{}, Measurements: []measurement{}}
	found := read(files, &out)
	for _, template := range found.templates {
		if err := analysis.ValidateMetrics(template.Spec.Metrics); err != nil {
			out.fail("AnalysisTemplate %s: %v", template.Name, err)
		}
	}
	for _, rollout := range found.rollouts {
		for _, err := range validation.ValidateRollout(rollout) {
			out.fail("Rollout %s: %v", rollout.Name, err)
		}
		for _, place := range uses(rollout) {
			check(rollout, place, found, &out)
			if *run {
				measure(rollout, place, found, given, *hash, &out)
			}
		}
	}
	text, _ := json.MarshalIndent(out, "", "  ")
	fmt.Println(string(text))
	if len(out.Errors) > 0 {
		os.Exit(1)
	}
}

func read(files []string, out *report) manifests {
	found := manifests{templates: map[string]*v1alpha1.AnalysisTemplate{}}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			out.fail("%v", err)
			continue
		}
		documents := kyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
		for {
			document, err := documents.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				out.fail("%s: %v", file, err)
				break
			}
			var meta metav1.TypeMeta
			if err := yaml.Unmarshal(document, &meta); err != nil {
				out.fail("%s: %v", file, err)
				continue
			}
			switch meta.Kind {
			case "AnalysisTemplate":
				template := &v1alpha1.AnalysisTemplate{}
				if err := yaml.UnmarshalStrict(document, template, yaml.DisallowUnknownFields); err != nil {
					out.fail("%s: AnalysisTemplate: %v", file, err)
					continue
				}
				found.templates[template.Name] = template
			case "Rollout":
				rollout := &v1alpha1.Rollout{}
				if err := yaml.UnmarshalStrict(document, rollout, yaml.DisallowUnknownFields); err != nil {
					out.fail("%s: Rollout: %v", file, err)
					continue
				}
				found.rollouts = append(found.rollouts, rollout)
			}
		}
	}
	return found
}

func uses(rollout *v1alpha1.Rollout) []use {
	canary := rollout.Spec.Strategy.Canary
	if canary == nil {
		return nil
	}
	var places []use
	if canary.Analysis != nil {
		places = append(places, use{"background", validation.BackgroundAnalysis, 0, &canary.Analysis.RolloutAnalysis})
	}
	for i, step := range canary.Steps {
		if step.Analysis != nil {
			places = append(places, use{fmt.Sprintf("step %d", i), validation.InlineAnalysis, i, step.Analysis})
		}
	}
	return places
}

func templatesOf(place use, found manifests, out *report) []*v1alpha1.AnalysisTemplate {
	var templates []*v1alpha1.AnalysisTemplate
	for _, ref := range place.what.Templates {
		template, ok := found.templates[ref.TemplateName]
		if !ok {
			out.fail("%s: no AnalysisTemplate %s", place.name, ref.TemplateName)
			continue
		}
		templates = append(templates, template.DeepCopy())
	}
	return templates
}

func check(rollout *v1alpha1.Rollout, place use, found manifests, out *report) {
	named := validation.AnalysisTemplatesWithType{
		AnalysisTemplates: templatesOf(place, found, out), TemplateType: place.kind, CanaryStepIndex: place.step, Args: place.what.Args,
	}
	for _, err := range validation.ValidateAnalysisTemplatesWithType(rollout, named) {
		out.fail("Rollout %s, %s: %v", rollout.Name, place.name, err)
	}
}

func measure(rollout *v1alpha1.Rollout, place use, found manifests, given []string, hash string, out *report) {
	labelled := func(value string) *appsv1.ReplicaSet {
		return &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.DefaultRolloutUniqueLabelKey: value}}}
	}
	arguments, err := analysis.BuildArgumentsForRolloutAnalysisRun(place.what.Args, labelled("stable"), labelled(hash), rollout)
	if err != nil {
		out.fail("%s: %v", place.name, err)
		return
	}
	for _, text := range given {
		name, value, _ := strings.Cut(text, "=")
		arguments = replaced(arguments, name, value)
	}
	for _, template := range templatesOf(place, found, &report{}) {
		run, err := analysis.NewAnalysisRunFromTemplates([]*v1alpha1.AnalysisTemplate{template}, nil, arguments, nil, nil, nil, nil, "run", "", "")
		if err != nil {
			out.fail("%s: %s: %v", place.name, template.Name, err)
			continue
		}
		for _, metric := range run.Spec.Metrics {
			if metric.Provider.Prometheus == nil {
				continue
			}
			entry := measurement{Analysis: place.name, Template: template.Name, Metric: metric.Name}
			taken(run, metric, &entry)
			out.Measurements = append(out.Measurements, entry)
		}
	}
}

func taken(run *v1alpha1.AnalysisRun, metric v1alpha1.Metric, entry *measurement) {
	entry.Phase = string(v1alpha1.AnalysisPhaseError)
	resolved, err := analysis.ResolveMetricArgs(metric, run.Spec.Args)
	if err != nil {
		entry.Message = err.Error()
		return
	}
	entry.Query = resolved.Provider.Prometheus.Query
	api, err := prometheus.NewPrometheusAPI(*resolved)
	if err != nil {
		entry.Message = err.Error()
		return
	}
	provider, err := prometheus.NewPrometheusProvider(api, *logrus.NewEntry(logrus.StandardLogger()), *resolved)
	if err != nil {
		entry.Message = err.Error()
		return
	}
	result := provider.Run(run, *resolved)
	entry.Value, entry.Phase, entry.Message = result.Value, string(result.Phase), result.Message
}

func replaced(arguments []v1alpha1.Argument, name, value string) []v1alpha1.Argument {
	for i := range arguments {
		if arguments[i].Name == name {
			arguments[i].Value = &value
			return arguments
		}
	}
	return append(arguments, v1alpha1.Argument{Name: name, Value: &value})
}
