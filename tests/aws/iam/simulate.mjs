// Answers, for a JSON list of requests on its standard input, whether IAM allows each: "Allowed", "ImplicitlyDenied" or
// "ExplicitlyDenied". A policy, a key or a resource that IAM would refuse to take ends it.
import { readFileSync } from 'node:fs'
import { runSimulation } from '@cloud-copilot/iam-simulate'

const answers = []
for (const each of JSON.parse(readFileSync(0))) {
  const { identityPolicy, resourcePolicy, organizationPolicy, principal, action, resource, account, context } = each
  // Organizations allows everything unless a policy of its own denies it.
  const everything = { Version: '2012-10-17', Statement: { Effect: 'Allow', Action: '*', Resource: '*' } }
  const controls = [{ name: 'FullAWSAccess', policy: everything }, { name: 'own', policy: organizationPolicy }]

  const simulation = {
    request: { action, resource: { resource, accountId: account }, principal, contextVariables: context },
    identityPolicies: identityPolicy ? [{ name: 'role', policy: identityPolicy }] : [],
    serviceControlPolicies: organizationPolicy ? [{ orgIdentifier: 'root', policies: controls }] : [],
    resourceControlPolicies: [],
    resourcePolicy
  }
  const { errors, overallResult, result } = await runSimulation(simulation, {})
  if (errors || result?.ignoredContextKeys?.length) {
    console.error(JSON.stringify({ action, resource, context, errors, ignored: result?.ignoredContextKeys }))
    process.exit(1)
  }
  answers.push(overallResult)
}
console.log(JSON.stringify(answers))
