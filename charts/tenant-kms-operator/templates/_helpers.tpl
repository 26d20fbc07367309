{{- define "tenant-kms-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 54 | trimSuffix "-" -}}
{{- end -}}

{{/* A Service name: no dots, and 54 characters, so that the longest suffix, "-metrics", still fits its 63. */}}
{{- define "tenant-kms-operator.fullname" -}}
{{- $name := include "tenant-kms-operator.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 54 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | replace "." "-" | trunc 54 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | replace "." "-" | trunc 54 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/*
Prefix for everything that two releases could both want: cluster-scoped objects, and Roles in shared
namespaces. A namespace has no dot, so namespace and release cannot run into each other; at most
19 + 1 + 63 + 1 + 53 characters leaves room below 253 without truncation.
*/}}
{{- define "tenant-kms-operator.clusterName" -}}
{{- printf "%s.%s.%s" .Chart.Name .Release.Namespace .Release.Name -}}
{{- end -}}

{{- define "tenant-kms-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tenant-kms-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "tenant-kms-operator.labels" -}}
{{ include "tenant-kms-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "tenant-kms-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "tenant-kms-operator.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is required when serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Whom the API server sees. */}}
{{- define "tenant-kms-operator.user" -}}
{{- printf "system:serviceaccount:%s:%s" .Release.Namespace (include "tenant-kms-operator.serviceAccountName" .) -}}
{{- end -}}

{{/* What AKS's webhook looks for; a string, so that it can be merged with other labels. */}}
{{- define "tenant-kms-operator.identityLabels" -}}
{{- if .Values.workloadIdentity.azure.enabled -}}
azure.workload.identity/use: "true"
{{- end -}}
{{- end -}}

{{/* The subject of every binding. */}}
{{- define "tenant-kms-operator.subjects" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "tenant-kms-operator.serviceAccountName" . }}
    namespace: {{ .Release.Namespace | quote }}
{{- end -}}

{{- define "tenant-kms-operator.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The Secret with the agent API's certificate; empty when the operator issues it itself. */}}
{{- define "tenant-kms-operator.agentSecret" -}}
{{- if .Values.agent.tls.secretName -}}
{{- .Values.agent.tls.secretName -}}
{{- else if .Values.agent.tls.certManager.enabled -}}
{{- printf "%s-agent-tls" (include "tenant-kms-operator.fullname" .) -}}
{{- end -}}
{{- end -}}

{{/* What workloads call it, as a list. */}}
{{- define "tenant-kms-operator.agentNames" -}}
{{- $service := printf "%s-agent.%s" (include "tenant-kms-operator.fullname" .) .Release.Namespace -}}
{{- list (printf "%s.svc" $service) (printf "%s.svc.cluster.local" $service) $service | toJson -}}
{{- end -}}

{{/* The namespaces of the ConfigMap tenant-kms-ca, as a list. */}}
{{- define "tenant-kms-operator.caNamespaces" -}}
{{- $own := and .Values.agent.enabled (not (include "tenant-kms-operator.agentSecret" .)) -}}
{{- ternary (concat (list .Release.Namespace) .Values.agent.tls.caNamespaces | uniq) (list) $own | toJson -}}
{{- end -}}
