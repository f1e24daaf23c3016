package main

// What is read: upstream's modules at their versions, and the API packages in them.

const kubernetesVersion = "v1.37.2"
const stagingVersion = "v0.37.2"

var moduleVersions = map[string]string{
	"k8s.io/kubernetes":              kubernetesVersion,
	"k8s.io/api":                     stagingVersion,
	"k8s.io/apiextensions-apiserver": stagingVersion,
	"k8s.io/apimachinery":            stagingVersion,
	"k8s.io/apiserver":               stagingVersion,
	"k8s.io/client-go":               stagingVersion,
	"k8s.io/component-base":          stagingVersion,
	"k8s.io/kube-aggregator":         stagingVersion,
	"k8s.io/kube-proxy":              stagingVersion,
	"k8s.io/kube-scheduler":          stagingVersion,
	"k8s.io/kubelet":                 stagingVersion,
	"k8s.io/metrics":                 stagingVersion,
}

// apiPackage is a Go package of one group and version. Folder is the group's short name here.
type apiPackage struct {
	ImportPath string
	Group      string
	Version    string
	Folder     string
	// Model is the prefix of the types' OpenAPI names where the package itself does not state it.
	Model string
}

var apiPackages = []apiPackage{
	{ImportPath: "k8s.io/apimachinery/pkg/apis/meta/v1", Group: "meta.k8s.io", Version: "v1", Folder: "meta"},
	{ImportPath: "k8s.io/apimachinery/pkg/version", Group: "version", Version: "v1", Folder: "version"},
	{ImportPath: "k8s.io/api/core/v1", Group: "", Version: "v1", Folder: "core"},

	{ImportPath: "k8s.io/api/admission/v1", Group: "admission.k8s.io", Version: "v1", Folder: "admission"},
	{ImportPath: "k8s.io/api/admissionregistration/v1", Group: "admissionregistration.k8s.io", Version: "v1", Folder: "admissionregistration"},
	{ImportPath: "k8s.io/api/admissionregistration/v1beta1", Group: "admissionregistration.k8s.io", Version: "v1beta1", Folder: "admissionregistration"},
	{ImportPath: "k8s.io/api/admissionregistration/v1alpha1", Group: "admissionregistration.k8s.io", Version: "v1alpha1", Folder: "admissionregistration"},
	{ImportPath: "k8s.io/api/apidiscovery/v2", Group: "apidiscovery.k8s.io", Version: "v2", Folder: "apidiscovery"},
	{ImportPath: "k8s.io/api/apiserverinternal/v1alpha1", Group: "internal.apiserver.k8s.io", Version: "v1alpha1", Folder: "apiserverinternal"},
	{ImportPath: "k8s.io/api/apps/v1", Group: "apps", Version: "v1", Folder: "apps"},
	{ImportPath: "k8s.io/api/authentication/v1", Group: "authentication.k8s.io", Version: "v1", Folder: "authentication"},
	{ImportPath: "k8s.io/api/authorization/v1", Group: "authorization.k8s.io", Version: "v1", Folder: "authorization"},
	{ImportPath: "k8s.io/api/autoscaling/v1", Group: "autoscaling", Version: "v1", Folder: "autoscaling"},
	{ImportPath: "k8s.io/api/autoscaling/v2", Group: "autoscaling", Version: "v2", Folder: "autoscaling"},
	{ImportPath: "k8s.io/api/batch/v1", Group: "batch", Version: "v1", Folder: "batch"},
	{ImportPath: "k8s.io/api/certificates/v1", Group: "certificates.k8s.io", Version: "v1", Folder: "certificates"},
	{ImportPath: "k8s.io/api/certificates/v1beta1", Group: "certificates.k8s.io", Version: "v1beta1", Folder: "certificates"},
	{ImportPath: "k8s.io/api/coordination/v1", Group: "coordination.k8s.io", Version: "v1", Folder: "coordination"},
	{ImportPath: "k8s.io/api/coordination/v1beta1", Group: "coordination.k8s.io", Version: "v1beta1", Folder: "coordination"},
	{ImportPath: "k8s.io/api/coordination/v1alpha2", Group: "coordination.k8s.io", Version: "v1alpha2", Folder: "coordination"},
	{ImportPath: "k8s.io/api/discovery/v1", Group: "discovery.k8s.io", Version: "v1", Folder: "discovery"},
	{ImportPath: "k8s.io/api/events/v1", Group: "events.k8s.io", Version: "v1", Folder: "events"},
	{ImportPath: "k8s.io/api/flowcontrol/v1", Group: "flowcontrol.apiserver.k8s.io", Version: "v1", Folder: "flowcontrol"},
	{ImportPath: "k8s.io/api/imagepolicy/v1alpha1", Group: "imagepolicy.k8s.io", Version: "v1alpha1", Folder: "imagepolicy"},
	{ImportPath: "k8s.io/api/lifecycle/v1alpha1", Group: "lifecycle.k8s.io", Version: "v1alpha1", Folder: "lifecycle"},
	{ImportPath: "k8s.io/api/networking/v1", Group: "networking.k8s.io", Version: "v1", Folder: "networking"},
	{ImportPath: "k8s.io/api/node/v1", Group: "node.k8s.io", Version: "v1", Folder: "node"},
	{ImportPath: "k8s.io/api/policy/v1", Group: "policy", Version: "v1", Folder: "policy"},
	{ImportPath: "k8s.io/api/rbac/v1", Group: "rbac.authorization.k8s.io", Version: "v1", Folder: "rbac"},
	{ImportPath: "k8s.io/api/resource/v1", Group: "resource.k8s.io", Version: "v1", Folder: "resource"},
	{ImportPath: "k8s.io/api/resource/v1alpha3", Group: "resource.k8s.io", Version: "v1alpha3", Folder: "resource"},
	{ImportPath: "k8s.io/api/resource/v1beta1", Group: "resource.k8s.io", Version: "v1beta1", Folder: "resource"},
	{ImportPath: "k8s.io/api/resource/v1beta2", Group: "resource.k8s.io", Version: "v1beta2", Folder: "resource"},
	{ImportPath: "k8s.io/api/scheduling/v1", Group: "scheduling.k8s.io", Version: "v1", Folder: "scheduling"},
	{ImportPath: "k8s.io/api/scheduling/v1beta1", Group: "scheduling.k8s.io", Version: "v1beta1", Folder: "scheduling"},
	{ImportPath: "k8s.io/api/scheduling/v1alpha3", Group: "scheduling.k8s.io", Version: "v1alpha3", Folder: "scheduling"},
	{ImportPath: "k8s.io/api/storage/v1", Group: "storage.k8s.io", Version: "v1", Folder: "storage"},
	{ImportPath: "k8s.io/api/storagemigration/v1", Group: "storagemigration.k8s.io", Version: "v1", Folder: "storagemigration"},
	{ImportPath: "k8s.io/api/storagemigration/v1beta1", Group: "storagemigration.k8s.io", Version: "v1beta1", Folder: "storagemigration"},

	{ImportPath: "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1", Group: "apiextensions.k8s.io", Version: "v1", Folder: "apiextensions"},
	{ImportPath: "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1", Group: "apiregistration.k8s.io", Version: "v1", Folder: "apiregistration"},
	{ImportPath: "k8s.io/metrics/pkg/apis/metrics/v1beta1", Group: "metrics.k8s.io", Version: "v1beta1", Folder: "metrics"},
	{ImportPath: "k8s.io/metrics/pkg/apis/metrics/v1", Group: "metrics.k8s.io", Version: "v1", Folder: "metrics"},
	{ImportPath: "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2", Group: "custom.metrics.k8s.io", Version: "v1beta2", Folder: "custom-metrics"},
	{ImportPath: "k8s.io/metrics/pkg/apis/external_metrics/v1beta1", Group: "external.metrics.k8s.io", Version: "v1beta1", Folder: "external-metrics"},
	{ImportPath: "k8s.io/apiserver/pkg/apis/audit/v1", Group: "audit.k8s.io", Version: "v1", Folder: "audit"},

	// Configuration files.
	{ImportPath: "k8s.io/apiserver/pkg/apis/apiserver/v1", Group: "apiserver.config.k8s.io", Version: "v1", Folder: "apiserver-config", Model: "io.k8s.apiserver.pkg.apis.apiserver.v1"},
	{ImportPath: "k8s.io/kubelet/config/v1beta1", Group: "kubelet.config.k8s.io", Version: "v1beta1", Folder: "kubelet-config"},
	{ImportPath: "k8s.io/kube-proxy/config/v1alpha1", Group: "kubeproxy.config.k8s.io", Version: "v1alpha1", Folder: "kubeproxy-config"},
	{ImportPath: "k8s.io/kube-scheduler/config/v1", Group: "kubescheduler.config.k8s.io", Version: "v1", Folder: "kubescheduler-config"},
	{ImportPath: "k8s.io/component-base/config/v1alpha1", Group: "component-base", Version: "v1alpha1", Folder: "component-config"},
	{ImportPath: "k8s.io/component-base/logs/api/v1", Group: "logs", Version: "v1", Folder: "component-logs"},
	{ImportPath: "k8s.io/component-base/tracing/api/v1", Group: "tracing", Version: "v1", Folder: "component-tracing"},
	{ImportPath: "k8s.io/client-go/tools/clientcmd/api/v1", Group: "", Version: "v1", Folder: "kubeconfig", Model: "io.k8s.client-go.tools.clientcmd.api.v1"},
	{ImportPath: "k8s.io/client-go/pkg/apis/clientauthentication/v1", Group: "client.authentication.k8s.io", Version: "v1", Folder: "clientauthentication"},
}

// Types whose JSON is not what their Go fields say.
var scalarTypes = map[string]string{
	"k8s.io/apimachinery/pkg/api/resource.Quantity":                 "quantity",
	"k8s.io/apimachinery/pkg/util/intstr.IntOrString":               "intOrString",
	"k8s.io/apimachinery/pkg/apis/meta/v1.Time":                     "time",
	"k8s.io/apimachinery/pkg/apis/meta/v1.MicroTime":                "microTime",
	"k8s.io/apimachinery/pkg/apis/meta/v1.Duration":                 "duration",
	"k8s.io/apimachinery/pkg/apis/meta/v1.FieldsV1":                 "fields",
	"k8s.io/apimachinery/pkg/runtime.RawExtension":                  "any",
	"k8s.io/apimachinery/pkg/runtime.Object":                        "any",
	"k8s.io/apimachinery/pkg/runtime.Unknown":                       "any",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSON": "json",
	"k8s.io/component-base/logs/api/v1.TimeOrMetaDuration":          "intOrString",
	"k8s.io/apimachinery/pkg/api/resource.QuantityValue":            "quantity",
	"time.Duration": "int64",
}

// Types of which JSON holds one field's value bare.
var alternativeTypes = map[string]bool{
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrArray":       true,
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrBool":        true,
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrStringArray": true,
}
