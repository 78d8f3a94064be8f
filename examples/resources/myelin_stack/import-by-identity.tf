import {
  to = myelin_stack.shop
  identity = {
    namespace = "shop"
    name      = "shop"
  }
}
